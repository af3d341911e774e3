// SPDX-License-Identifier: Apache-2.0
// Server-sent events of a fetch(), because EventSource can't send a POST request.

export interface ServerEvent {
  name: string;
  data: any;
}

/** Reads the events of a body in the form in which the server writes them: `event:` and one line of JSON in `data:`. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const held: string[] = [];      // parts of an event that is not complete yet: a large event comes in many parts
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const blocks = decoder.decode(value, {stream: true}).split("\n\n");
    // The blank line itself may be cut in two.
    if (held.length && held[held.length - 1]!.endsWith("\n") && blocks[0]!.startsWith("\n")) {
      blocks[0] = blocks[0]!.slice(1);
      blocks.unshift("");
    }
    if (blocks[0]) held.push(blocks[0]);
    for (const next of blocks.slice(1)) {
      const event = parse(held.join(""));
      if (event) yield event;
      held.splice(0, held.length, ...next ? [next] : []);
    }
  }
}

function parse(block: string): ServerEvent | null {
  let name = "message", data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  return data ? {name, data: JSON.parse(data)} : null;
}
