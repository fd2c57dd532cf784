// Package github lets people sign in with their GitHub account, on github.com,
// GHE.com or a GitHub Enterprise Server.
//
// It owns the guest module mcp_auth.logins.github. The interface it implements
// is in core/login; cookies, state, single use, sessions, rules and pages are
// the flow's, in core/authserver.
//
// # What it asks GitHub
//
// GitHub speaks OAuth 2.0 (RFC 6749) with PKCE (RFC 7636) and is no OpenID
// provider: who somebody is, its API says. After the code is exchanged
// (method.go), up to four questions follow (api.go):
//
//	/user                    the numeric id, which is the subject; login and name
//	/user/emails             the primary address, if GitHub verified it
//	/user/memberships/orgs   the organizations, active memberships only
//	/user/teams              the teams in them
//
// The last two are asked only if the options organizations, teams or groups
// need them, and so is the scope read:org. The id is the subject because a
// person can change their login and address, and somebody else can take them
// over. The access token serves these questions and is dropped: it is neither
// stored nor logged, and no text of an answer that could hold it gets into an
// error.
//
// # Setting it up
//
// Register an OAuth app in GitHub's developer settings. Its callback URL is
// <issuer>/oauth/callback/github (or the id option instead of github). An
// organization that restricts OAuth apps has to approve it, or its members look
// like strangers. A GitHub App does as well, if it may read e-mail addresses
// and, for organizations and teams, is installed there and may read members.
//
//	login github {
//		client_id     {env.GITHUB_CLIENT_ID}
//		client_secret {env.GITHUB_CLIENT_SECRET}
//		organizations acme
//	}
//
// Anyone can have an account on GitHub: without organizations and teams, the
// server wants an allow rule. Groups, for rules, are organizations and teams in
// lower case: allow group acme/leads.
//
// Memberships are looked at when somebody signs in. Who leaves the organization
// later keeps the session, and what it allowed, until it ends.
package github
