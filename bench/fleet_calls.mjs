// SPDX-License-Identifier: Apache-2.0
/** For fleet.py: makes a run for each line of its input, over `http` or `nats`, and prints its microseconds. Arguments: the client, URL, token, URL. */
import { createInterface } from "node:readline";

const [client, url, token, nats] = process.argv.slice(2);
const { Pyexec } = await import(client);
const clients = { http: Pyexec.connect(url, { token }), nats: Pyexec.connect(nats) };
for await (const line of createInterface({ input: process.stdin })) {
  const px = clients[line.trim()];
  const begun = performance.now();
  const result = await px.executeOnce("1 + 1");
  console.log((performance.now() - begun) * 1000);
  if (result.last_value_repr !== "2") throw new Error(result.last_value_repr);
}
await Promise.all(Object.values(clients).map((px) => px.close()));
