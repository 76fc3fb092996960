import { expect, test } from 'vitest';
import { waysToSend } from './ways';

test('every way names the address of the page, and a table that can be typed', () => {
  const ways = waysToSend('https://shop.example:9000', 'orders');
  expect(ways).toHaveLength(3);
  for (const { text } of ways) expect(text).toContain('shop.example:9000');
  expect(ways[0]!.text).toBe("curl https://shop.example:9000/write \\\n  -d 'orders,city=Berlin temp=21.5'");
  expect(ways[2]!.text).toContain('https::addr=shop.example:9000;');
  expect(waysToSend('http://x', "a'; rm")[0]!.text).toContain('weather,');
});
