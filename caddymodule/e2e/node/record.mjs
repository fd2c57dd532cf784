// A fetch that notes what went over the wire, for the test to judge.

const noted = ['/oauth/', '/.well-known/'];

/** Returns a fetch and the list of exchanges that it fills. */
export function recordingFetch() {
  const exchanges = [];
  const recording = async (input, init) => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    const isForm = request.headers.get('content-type')?.startsWith('application/x-www-form-urlencoded');
    const form = isForm ? await request.clone().text() : '';
    const exchange = {
      method: request.method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      form: Object.fromEntries(new URLSearchParams(form)),
      bearer: request.headers.get('authorization')?.startsWith('Bearer ') ?? false,
      basic: request.headers.get('authorization')?.startsWith('Basic ') ?? false,
    };
    exchanges.push(exchange);
    const response = await fetch(request);
    exchange.status = response.status;
    exchange.challenge = response.headers.get('www-authenticate') ?? '';
    if (noted.some((prefix) => url.pathname.startsWith(prefix)) && response.headers.get('content-type')?.includes('json')) {
      exchange.reply = await response.clone().json();
    }
    return response;
  };
  return { fetch: recording, exchanges };
}
