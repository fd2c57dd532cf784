// A program that a test drives line by line.

import { createInterface } from 'node:readline';

/**
 * Reads one JSON command a line, such as {"do":"call","tool":"hello"}, and answers each with one JSON
 * line: {"do", "ok", "error", "code", "result", "exchanges"}, where exchanges are the HTTP requests since the
 * last answer. It ends the process with its input.
 */
export async function serve(commands, wire) {
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    const answer = { do: command.do, ok: true };
    try {
      answer.result = await commands[command.do](command);
    } catch (error) {
      answer.ok = false;
      answer.code = error.code;
      answer.error = `${error.name}: ${error.message}${error.cause ? `: ${JSON.stringify(error.cause)}` : ''}`;
    }
    answer.exchanges = wire.exchanges.splice(0);
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
}
