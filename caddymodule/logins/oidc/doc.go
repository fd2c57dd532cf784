// Package oidc is the sign-in method for every OpenID provider: it sends the
// browser there, redeems the code that comes back and believes the ID token once
// everything in it has been checked.
//
// It owns the guest module mcp_auth.logins.oidc: discovery, the provider's keys,
// the authorization request and its answer, and what claims mean. The interface
// it implements is in core/login; state, cookies, single use, rules and pages
// belong to the flow in core/authserver.
//
// Every provider needs to know the redirect URI of this server. It is
// https://mcp.example.com/oauth/callback/oidc for the issuer
// https://mcp.example.com and the default id; the last part is the id.
//
// # Google
//
// Create an OAuth client of the type "Web application". With hosted_domain only
// accounts of these Workspace domains get in. Google has no claim with groups.
//
//	login oidc https://accounts.google.com {
//		client_id     {env.GOOGLE_CLIENT_ID}
//		client_secret {env.GOOGLE_CLIENT_SECRET}
//		id            google
//		hosted_domain example.com
//	}
//
// # Microsoft Entra
//
// Register an application with the platform "Web", and use the issuer of your
// tenant. Entra doesn't say whether an address is verified; in a tenant of your
// own your administrators choose the addresses. Add the optional claims email
// and groups in "Token configuration". Groups come as their object ids.
//
//	login oidc https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0 {
//		client_id      {env.ENTRA_CLIENT_ID}
//		client_secret  {env.ENTRA_CLIENT_SECRET}
//		id             entra
//		tenant         11111111-2222-3333-4444-555555555555
//		email_verified trust
//	}
//
// For several tenants, register the application as multitenant. Never trust
// addresses there: each tenant's administrators can write what they like.
//
//	login oidc https://login.microsoftonline.com/organizations/v2.0 {
//		client_id     {env.ENTRA_CLIENT_ID}
//		client_secret {env.ENTRA_CLIENT_SECRET}
//		id            entra
//		tenant        11111111-2222-3333-4444-555555555555 66666666-7777-8888-9999-000000000000
//	}
//
// # Okta
//
// Create an app integration "OIDC, Web Application", with a groups claim. The
// ID tokens of Okta's own authorization server are short: the rest is at the
// userinfo endpoint.
//
//	login oidc https://example.okta.com {
//		client_id     {env.OKTA_CLIENT_ID}
//		client_secret {env.OKTA_CLIENT_SECRET}
//		id            okta
//		scopes        openid email profile groups
//		userinfo
//	}
//
// # Auth0
//
// Create a "Regular Web Application". The issuer ends in a slash. Roles come
// from an Action that sets a claim with a name of your own.
//
//	login oidc https://example.eu.auth0.com/ {
//		client_id     {env.AUTH0_CLIENT_ID}
//		client_secret {env.AUTH0_CLIENT_SECRET}
//		id            auth0
//		claim         groups https://example.com/roles
//	}
//
// # Keycloak
//
// Create a client with "Client authentication", and add the roles to the ID
// token in the mapper "realm roles" of the client scope "roles".
//
//	login oidc https://keycloak.example.com/realms/main {
//		client_id     {env.KEYCLOAK_CLIENT_ID}
//		client_secret {env.KEYCLOAK_CLIENT_SECRET}
//		id            keycloak
//		label         "Example Inc."
//		claim         groups realm_access.roles
//	}
//
// # GitLab
//
// Create an application with the scopes openid, email and profile, on gitlab.com
// or on a server of your own. The userinfo endpoint lists the groups, by path.
//
//	login oidc https://gitlab.com {
//		client_id     {env.GITLAB_CLIENT_ID}
//		client_secret {env.GITLAB_CLIENT_SECRET}
//		id            gitlab
//		userinfo
//	}
package oidc
