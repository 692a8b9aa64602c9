// Reads requests with the official SDK, one a line: {"headers": {...}, "body": base64}; writes the events that they are.
const { HTTP } = require("cloudevents");
const readline = require("readline");

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const request = JSON.parse(line);
  const body = Buffer.from(request.body, "base64");
  // Of a batch it is a list.
  for (const event of [HTTP.toEvent({ headers: request.headers, body: body.toString() })].flat()) {
    event.validate();
    const { data, data_base64, ...attributes } = event.toJSON();
    console.log(JSON.stringify({ attributes, data: data_base64 ? { base64: data_base64 } : (data ?? null) }));
  }
});
