// SPDX-License-Identifier: Apache-2.0
/** Reads server-sent events (text/event-stream). */

export interface ServerEvent {
  readonly name: string;
  readonly data: string;
  readonly id: string;
}

/** Yields the events of a body as they come. An event that is not complete at the end is dropped. */
export async function* serverEvents(body: AsyncIterable<Buffer>): AsyncGenerator<ServerEvent> {
  let parts: Buffer[] = [];
  let name = "";
  let id = "";
  let data: string | undefined;
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end));
      const line = Buffer.concat(parts).toString("utf8").replace(/\r$/, "");
      parts = [];
      start = end + 1;
      if (line === "") {
        if (data !== undefined) yield { name, data, id };
        name = "";
        data = undefined;
        continue;
      }
      const [, key, value] = /^([^:]*):? ?(.*)$/s.exec(line) as unknown as [string, string, string];
      if (key === "event") name = value;
      else if (key === "id") id = value;
      else if (key === "data") data = data === undefined ? value : data + "\n" + value;
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
}
