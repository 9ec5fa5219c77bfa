// What the adapters of all libraries need.

/** The library cannot do this. */
export class Unsupported extends Error {
  name = "Unsupported";
}

/** A module of the folder of libraries, by its path there. */
export async function library(path) {
  const loaded = await import(`file://${process.env.OTTLA_CLIENTS}/node_modules/${path}`);
  return loaded.default ?? loaded;
}
