// A person at a browser: signs in with a password and lets the program in.

const field = (page, name) => page.match(new RegExp(`name="${name}" value="([^"]*)"`))?.[1];

export class Person {
  #cookies = new Map();
  #user;
  #password;

  constructor(user, password) {
    this.#user = user;
    this.#password = password;
  }

  /** Opens the URL, does what its pages ask for, and returns where the browser is sent to in the end. */
  async visit(url) {
    let page = await this.#follow(url);
    page = await this.#post(page, { login: 'password', field_username: this.#user, field_password: this.#password });
    return (await this.#post(page, { decision: 'allow' })).location;
  }

  /** Requests a page and follows redirects on its own host. */
  async #follow(url, init = {}) {
    const response = await fetch(url, {
      ...init,
      redirect: 'manual',
      headers: { ...init.headers, cookie: [...this.#cookies].map((pair) => pair.join('=')).join('; ') },
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [name, value] = cookie.split(';')[0].split('=');
      this.#cookies.set(name, value);
    }
    const html = await response.text();
    const location = response.headers.get('location') ?? '';
    if (location.startsWith('/')) return this.#follow(new URL(location, url));
    return { url, html, location, status: response.status };
  }

  /** Sends the first form of a page as a browser does. */
  #post(page, filled) {
    const action = page.html.match(/<form[^>]* action="([^"]+)"/)?.[1];
    if (!action) throw new Error(`no form on the page at ${page.url}: ${page.status}`);
    return this.#follow(new URL(action, page.url), {
      method: 'POST',
      body: new URLSearchParams({ flow: field(page.html, 'flow'), ...filled }),
      headers: { 'sec-fetch-site': 'same-origin', origin: 'null' },
    });
  }
}
