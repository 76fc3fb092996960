// Three ways to send a first row, each with the address that this page was opened at.

export interface Way {
  readonly title: string;
  readonly note: string;
  readonly text: string;
}

/** A name that goes into a command as it is. */
const plain = (name: string): string => (/^[A-Za-z_][\w.-]*$/.test(name) ? name : 'weather');

export function waysToSend(origin: string, table = 'weather'): Way[] {
  const name = plain(table);
  const { protocol, host } = new URL(origin);
  const scheme = protocol.replace(':', '');
  return [
    {
      title: 'curl',
      note: 'One row of line protocol. The table is made by it.',
      text: `curl ${origin}/write \\\n  -d '${name},city=Berlin temp=21.5'`,
    },
    {
      title: 'Telegraf',
      note: 'Every metric of a machine. Any token, organization and bucket will do.',
      text: `[[outputs.influxdb_v2]]\n  urls = ["${origin}"]\n  token = "any"\n  organization = "any"\n  bucket = "any"`,
    },
    {
      title: 'Python',
      note: "QuestDB's client, or any other of theirs: pip install questdb",
      text: `from questdb.ingress import (\n  Sender, TimestampNanos)\n\nto = "${scheme}::addr=${host};"\nwith Sender.from_conf(to) as sender:\n  sender.row("${name}",\n    symbols={"city": "Berlin"},\n    columns={"temp": 21.5},\n    at=TimestampNanos.now())`,
    },
  ];
}
