// The same thing has the same colour in every panel: names take a colour in the order in which the page meets them.

const taken = new Map<string, number>();

/** The colour number of a series' name, 0 to 7 and round again. */
export function colourOf(name: string): number {
  let index = taken.get(name);
  if (index === undefined) taken.set(name, (index = taken.size));
  return index;
}

/** Another page begins anew. */
export function forgetColours(): void {
  taken.clear();
}
