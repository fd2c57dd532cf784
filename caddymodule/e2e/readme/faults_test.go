package readme_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// someHash is a hash of a password that nobody knows.
const someHash = "$2a$14$G9odO3/AaBjj6r5bs2hiipiZagqTBGeZRnxcQjBk9ygcp7XrIAENj"

// fault is a configuration that reads well and can't work: options of the
// global option and of the directive, and what the operator is told when it is
// loaded. What is found while the Caddyfile is read has a golden file in
// caddymodule/testdata/caddyfile instead.
type fault struct{ name, options, site, want string }

var loginFaults = []fault{
	{"no login", "", "", `no login is configured: say how people sign in with the login option (login auto approves everyone, for development)`},
	{
		"two with one id", "login password {\nuser a HASH\n}\nlogin github {\nid password\nclient_id x\nclient_secret y\n}\nallow anyone", "",
		`two logins are called password: give each its own id with the id option`,
	},
	{
		"two with plain names", "login password {\nuser a HASH\n}\nlogin header {\npreset authelia\ntrusted_proxies 127.0.0.1\n}", "",
		`logins password and header both hand out plain user names, so one's alice could be taken for the other's: give one a namespace`,
	},
	{
		"auto beside another", "login auto\nlogin password {\nuser a HASH\n}", "",
		`login auto lets everyone in without asking, so no other login can stand beside it`,
	},
	{
		"github for anyone", "login github {\nclient_id x\nclient_secret y\n}", "",
		`anyone can have an account for login github: say who may come in, for example with allow email *@example.com, or allow anyone if you really mean it`,
	},
	{
		"oidc for anyone", "login oidc https://accounts.google.com {\nclient_id x\nid google\n}", "",
		`anyone can have an account for login google: say who may come in, for example with allow email *@example.com, or allow anyone if you really mean it`,
	},
	{"a rule for another login", "login auto\nallow login github", "", `a rule names the login github, which does not exist`},
	{"a site's rule for another login", "login auto", "deny login github", `a rule names the login github, which does not exist`},

	{"password: id", "login password {\nid The_Staff\nuser a HASH\n}", "", `password: id "The_Staff" is not 1 to 32 lower-case letters, digits and hyphens`},
	{"password: no users", "login password", "", `password: there are no users: name them with user, or a file of them with users_file`},
	{
		"password: no hash", "login password {\nuser alice hunter2\n}", "",
		`password: user alice: this is no bcrypt or argon2id hash; make one with: caddy hash-password --algorithm argon2id`,
	},
	{"password: no variable", "login password {\nuser alice {env.NO_SUCH_VALUE}\n}", "", `password: user "alice": hash: evaluated placeholder {env.NO_SUCH_VALUE} is empty`},
	{
		"password: one name twice", "login password {\nuser alice HASH\nuser Alice HASH\n}", "",
		`password: user Alice is twice, as alice: names that differ in upper and lower case only are one name`,
	},
	{"password: email", "login password {\nuser alice HASH {\nemail alice\n}\n}", "", `password: user alice: the email is not an address such as alice@example.com`},
	{"password: no file", "login password {\nusers_file {DIR}/none.json\n}", "", `password: users_file {DIR}/none.json: it can't be read: no such file or directory`},
	{
		"password: a mistake in the file", "login password {\nusers_file {DIR}/broken.json\n}", "",
		`password: users_file {DIR}/broken.json: line 3: there is an unknown member (known in an entry: user, hash, email, name, groups, disabled)`,
	},

	{
		"oidc: no client_id", "login oidc https://accounts.google.com", "",
		`login oidc: client_id is missing: register this server with the provider and write the id that it gave here`,
	},
	{"oidc: http", "login oidc http://id.example.com {\nclient_id x\n}", "", `login oidc: the issuer http://id.example.com does not use https (plain http is for localhost only)`},
	{
		"oidc: the document", "login oidc https://id.example.com/.well-known/openid-configuration {\nclient_id x\n}", "",
		`login oidc: the issuer is the URL before /.well-known/openid-configuration: write https://id.example.com`,
	},
	{
		"oidc: every tenant", "login oidc https://login.microsoftonline.com/common/v2.0 {\nclient_id x\n}", "",
		`login oidc: the issuer https://login.microsoftonline.com/common/v2.0 lets people of every company in: name yours with tenant, or use the issuer of your tenant, ` +
			`https://login.microsoftonline.com/<tenant id>/v2.0`,
	},
	{
		"oidc: accounts by address", "login oidc https://id.example.com {\nclient_id x\nclaim subject email\n}", "",
		`login oidc: claim subject email: that can change or pass to another person, who would then get this one's access; leave it out to use sub`,
	},
	{
		"oidc: no variable", "login oidc https://id.example.com {\nclient_id x\nclient_secret {env.NO_SUCH_SECRET}\n}", "",
		`login oidc: client_secret has a placeholder that is unknown or empty: set the variable that it names`,
	},

	{"github: no client_id", "login github", "", `login github needs client_id: the client ID of an OAuth app in GitHub's developer settings`},
	{"github: no client_secret", "login github {\nclient_id x\n}", "", `login github needs client_secret: a client secret of the OAuth app`},
	{
		"github: a path", "login github {\nclient_id x\nclient_secret y\nbase_url https://github.example.com/api/v3\n}", "",
		`login github: base_url "https://github.example.com/api/v3" has a path: it is only scheme and host, such as https://github.example.com; api_url says where the API is`,
	},
	{
		"github: a team alone", "login github {\nclient_id x\nclient_secret y\nteams leads\n}", "",
		`login github: teams: "leads" is not an organization and a team's slug, such as acme/leads`,
	},

	{
		"header: no proof", "login header {\npreset authelia\n}", "",
		`login header: anyone could send these headers: say how to know the proxy, with trusted_proxies, secret_header or jwt`,
	},
	{"header: no name", "login header {\ntrusted_proxies 10.0.0.7\n}", "", `login header: no header says who the person is: name it with user, or choose a preset`},
	{
		"header: preset", "login header {\npreset keycloak\ntrusted_proxies 10.0.0.7\n}", "",
		`login header: unknown preset "keycloak" (known: authelia, authentik, cloudflare, oauth2-proxy, tailscale)`,
	},
	{
		"header: everyone is the proxy", "login header {\npreset authelia\ntrusted_proxies 0.0.0.0/0\n}", "",
		`login header: trusted_proxies 0.0.0.0/0 lets half the world say who it is: list the proxy's own addresses, or add secret_header or jwt`,
	},
	{
		"header: short secret", "login header {\npreset authelia\nsecret_header X-Proxy-Secret hunter2\n}", "",
		`login header: the secret must have at least 16 characters of printable ASCII without space, for example from openssl rand -hex 32`,
	},
	{
		"header: jwt and a header", "login header {\nuser Remote-User\njwt X-A {\nissuer https://a.example\naudience b\njwks_url https://a.example/keys\n}\n}", "",
		`login header: with jwt, people are who the signed claims say, so user can't name a header: use claim in the jwt block`,
	},
	{
		"header: jwt for any application", "login header {\npreset cloudflare\njwt {\nissuer https://a.example\njwks_url https://a.example/keys\n}\n}", "",
		`login header: jwt needs audience: the aud claim of tokens for this application, or one for another application would do`,
	},
}

var pageFaults = []fault{
	{"brand: a word for a colour", "login auto\nbrand {\ncolor red\n}", "", `brand color "red" is not a colour: write # and six hexadecimal digits, such as #0b5394, or three`},
	{
		"brand: a pale colour", "login auto\nbrand {\ncolor \"#ffe08a\"\n}", "",
		`brand color "#ffe08a" has a contrast of only 1.13 to 1 on the page's background, and links need 4.5 to 1: choose a darker colour`,
	},
	{
		"brand: dark on dark", "login auto\nbrand {\ncolor \"#0b5394\" \"#222222\"\n}", "",
		`brand dark_color "#222222" has a contrast of only 1.02 to 1 on the page's background, and links need 4.5 to 1: choose a lighter colour`,
	},
	{"brand: no logo", "login auto\nbrand {\nlogo {DIR}/none.svg\n}", "", `brand: reading the logo: open {DIR}/none.svg: no such file or directory`},
	{"brand: no picture", "login auto\nbrand {\nlogo {DIR}/broken.json\n}", "", `brand: the logo {DIR}/broken.json is not an .svg, .png, .jpg, .webp or .gif file`},
	{"brand: heavy logo", "login auto\nbrand {\nlogo {DIR}/heavy.png\n}", "", `brand: the logo {DIR}/heavy.png has 66560 bytes, it may have up to 65536`},
	{
		"brand: long name", "login auto\nbrand {\nname \"" + strings.Repeat("long ", 13) + "\"\n}", "",
		`brand name "long long long long long long long long long long long long…" must have at most 60 characters, all of them visible, and single spaces`,
	},
	{"describe: another scope", "login auto", "describe tickets:read \"Read your tickets\"", `describe: the scope tickets:read is not among the scopes of https://mcp.example.com/mcp`},
	{"sessions: seconds", "login auto\nsession_idle 30s", "", `session_idle and session_lifetime must be at least one minute`},
	{"sessions: without end", "login auto\nsession_lifetime off", "", `session_idle and session_lifetime must be at least one minute`},
	{
		"trusted host: a URL", "login auto\ntrusted_redirect_hosts https://claude.ai", "",
		`trusted redirect host "https://claude.ai" is not a host such as claude.ai; a host of this machine can't be trusted`,
	},
	{
		"trusted host: this machine", "login auto\ntrusted_redirect_hosts localhost", "",
		`trusted redirect host "localhost" is not a host such as claude.ai; a host of this machine can't be trusted`,
	},
}

// TestFaults starts gateways that must not start. The last line that they write
// says in a sentence what is wrong, and repeats no secret.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range append(loginFaults, pageFaults...) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "broken.json"), "{\n\t\"users\": [\n\t\t{\"user\": \"alice\", \"password\": \"hunter2\"}\n\t]\n}\n")
			write(t, filepath.Join(dir, "heavy.png"), strings.Repeat("x", 65<<10))
			text := "{\nmcp_auth {\nissuer https://mcp.example.com\nstore memory\n" + tt.options + "\n}\n}\n\nmcp.example.com {\nmcp_auth {\n" + tt.site + "\n}\n}\n"
			text = strings.NewReplacer("login auto\n", "insecure_auto_approve\nlogin auto\n", "{DIR}", dir, "HASH", someHash).Replace(text)
			serving, logs := run(t, adapt(t, string(caddyfile.Format([]byte(text)))), nil)
			if serving || strings.Contains(logs, "hunter2") {
				t.Fatalf("it starts, or repeats a secret:\n%s", logs)
			}
			if got, want := refusal(t, logs), strings.ReplaceAll(tt.want, "{DIR}", dir); !strings.HasSuffix(got, ": "+want) {
				t.Errorf("got %s\nwant at its end: %s", got, want)
			}
		})
	}
}

// refusal returns the line with which Caddy ends that does not start.
func refusal(t *testing.T, logs string) string {
	t.Helper()
	for line := range strings.Lines(logs) {
		var entry struct{ Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil && strings.HasPrefix(entry.Msg, "loading initial config: ") {
			return entry.Msg
		}
	}
	t.Fatalf("it says nothing of a configuration:\n%s", logs)
	return ""
}
