package pages

import "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"

var english = words{
	Lang:   "en",
	Server: "Sign-in server",
	Pages:  "Pages of this server",
	Docs:   "Try the API",
	About:  "About this server and how to connect to it",

	Explanations:  englishExplanations,
	UnknownClient: englishUnknownClient,
	RegisterAgain: Step{Who: "A script, or a program of your own", Text: "Register again, and use the client_id from the answer."},
	Unregistrable: explanation{
		Title: "This server does not know the program",
		What:  "The program that sent you here is not known to this server, so you can't sign in with it.",
		Why:   "Programs can't register here by themselves: whoever runs this server adds them one by one. The program's client_id is not among them.",
		Steps: []Step{
			{Text: "Ask whoever runs this server for a client_id."},
			{Text: "Enter it in the program's settings for this connection, then connect again."},
		},
	},
	OtherError: explanation{
		Title: "Signing in did not work",
		What:  "This server could not go on with what the program asked for.",
		Why:   "The details below say why.",
		Steps: []Step{{Text: "Go back to the program and connect again."}, {Text: "If this page comes back, send its details to whoever runs this server."}},
	},
	Error: errorWords{
		CallsItself:   "The program calls itself",
		ReturnHint:    "You can go back to the program, which will learn what went wrong. Follow this link only if you came from there and know the address:",
		Return:        "Return to",
		Steps:         "What you can do",
		Details:       "Details for developers",
		RequestID:     "Request",
		RequestIDHint: "If you ask for help, send this number along: it finds the log lines.",
	},

	Overview: overviewWords{
		Title:                "Sign-in for MCP servers",
		Link:                 "Overview",
		Lead:                 "This server lets people sign in to the MCP servers below, and gives programs the tokens they need to call them. It speaks OAuth 2.1, so MCP clients connect on their own: give them an address, and they open this server in your browser when they need you.",
		Resources:            "Protected MCP servers",
		Address:              "Address",
		Scopes:               "Scopes",
		Connect:              "How to connect",
		ConnectHint:          "There is nothing to register and no token to copy.",
		ConnectUnregistrable: "Programs can't register here by themselves: ask whoever runs this server for a client_id, and enter it where the program asks for one.",
		ConnectOther:         "The commands use the first address; put another one in its place to connect there.",
		Endpoints:            "Endpoints",
		Issuer:               "Issuer",
		Metadata:             "Metadata",
		Keys:                 "Keys",
		Register:             "Registration",
		Authorize:            "Authorization",
		Token:                "Token",
		Health:               "Health",
		Documentation:        "Documentation",
		DocsHint:             "shows every endpoint and sends requests from your browser (needs JavaScript).",
		ReferenceHint:        "is the same as plain text.",
		OpenAPIHint:          "is the OpenAPI 3.1 document behind both.",
	},
	Connect: connectWords{
		ClaudeCode:  Step{Who: "Claude Code", Text: "Run this, then type /mcp in Claude Code and choose Authenticate."},
		Connector:   Step{Who: "Claude and ChatGPT", Text: "Add a custom connector in the settings and paste the address."},
		Cursor:      Step{Who: "Cursor", Text: "Put this into ~/.cursor/mcp.json, then choose Connect in Cursor's settings under MCP."},
		VSCode:      Step{Who: "VS Code", Text: "Run this. VS Code asks you to sign in when it starts the server."},
		Inspector:   Step{Who: "MCP Inspector", Text: "Run this, open the address that it prints, and press Connect."},
		Curl:        Step{Who: "curl", Text: "Without a token the answer is 401, and its WWW-Authenticate header says where a client has to look."},
		Development: Step{Who: "Without signing in", Text: "This server runs in development mode and hands out tokens to programs on its own machine."},
	},

	Reference: referenceWords{
		Link:       "API reference",
		Deprecated: "for old clients",
		Auth:       "Authentication",
		Aliases:    "Also at",
		Parameters: "Parameters (* required)",
		Body:       "Body",
		Responses:  "Responses",
		Schemas:    "Schemas (* required)",
	},
}

var englishUnknownClient = explanation{
	Title: "This program has to be connected again",
	What:  "The program that sent you here uses a registration that this server does not know.",
	Why:   "Programs register here once and remember it. This one remembers a registration that is no longer good: perhaps the server was set up anew, its keys were replaced, or another server had this address before. Nothing is wrong with your account. The program has to forget its old registration; it then makes a new one by itself.",
	Steps: []Step{
		{Who: "Claude Code", Text: "Type the command below, choose this server, then Clear authentication, and then Authenticate.", Code: "/mcp"},
		{Who: "Claude (web, desktop, mobile) and ChatGPT", Text: "Open the settings, remove the connector, and add it again."},
		{Who: "Cursor", Text: "In the settings under MCP, log out of this server and connect again. If that does not help, remove the server and add it again."},
		{Who: "VS Code", Text: "Run Authentication: Remove Dynamic Authentication Providers from the command palette, choose this server, and start the server again."},
		{Who: "mcp-remote (used by programs that can't sign in by themselves)", Text: "Close the program, delete the folder in which mcp-remote keeps its registrations, and start the program again. On Windows the folder is .mcp-auth in your user folder.", Code: "rm -rf ~/.mcp-auth"},
	},
}

// again are the steps where trying again is all there is.
var again = []Step{
	{Text: "Go back to the program and connect again."},
	{Text: "If this page comes back, remove the connection in the program and add it again."},
	{Text: "If that does not help either, send the details below to whoever makes the program or runs this server."},
}

// forDevelopers are the steps where only the program can be changed.
var forDevelopers = []Step{
	{Text: "See whether there is an update for the program, then connect again."},
	{Text: "If this page comes back, send the details below to whoever makes the program."},
}

var englishExplanations = map[string]explanation{
	oauth.CodeInvalidRequest: {
		Title: "The program asked in a way that does not work",
		What:  "The request that brought you here is incomplete or has a mistake in it.",
		Why:   "You did nothing wrong: the program made the request. It is not safe to send you back automatically, so you see this page.",
		Steps: again,
	},
	oauth.CodeInvalidClient: {
		Title: "This server does not accept the program",
		What:  "The program that sent you here could not show who it is.",
		Why:   "Its registration here is missing or no longer good.",
		Steps: again,
	},
	oauth.CodeUnauthorizedClient: {
		Title: "The program may not do this",
		What:  "The program that sent you here is not allowed to sign you in this way.",
		Why:   "It is registered here for something else.",
		Steps: again,
	},
	oauth.CodeAccessDenied: {
		Title: "You were not let in",
		What:  "This server refused to sign you in.",
		Why:   "Either your account is not among those that may use it, or the sign-in was cancelled, or this server does not accept sign-ins from where you are.",
		Steps: []Step{
			{Text: "Go back to the program and connect again, with another account if you have one."},
			{Text: "If you should have access, ask whoever runs this server to let you in, and send the details below along."},
		},
	},
	oauth.CodeUnsupportedResponseType: {
		Title: "The program asked for a way to sign in that does not exist here",
		What:  "The program wants its answer in a form that this server does not give.",
		Why:   "This server follows OAuth 2.1, which dropped the older and less safe forms.",
		Steps: forDevelopers,
	},
	oauth.CodeRequestNotSupported: {
		Title: "The program asked in a form that does not exist here",
		What:  "The program packed its request in a way that this server does not unpack.",
		Why:   "Request objects are an addition to OAuth that this server does not have.",
		Steps: forDevelopers,
	},
	oauth.CodeRequestURINotSupported: {
		Title: "The program asked in a form that does not exist here",
		What:  "The program only said where its request can be fetched from.",
		Why:   "Fetching requests is an addition to OAuth that this server does not have.",
		Steps: forDevelopers,
	},
	oauth.CodeInvalidScope: {
		Title: "The program asked for permissions that do not exist",
		What:  "None of the permissions (scopes) that the program wants exists on this server.",
		Why:   "The program may be set up for another server, or this server was changed.",
		Steps: again,
	},
	oauth.CodeInvalidTarget: {
		Title: "The address in the program does not fit this server",
		What:  "The program wants access to an address that this server does not protect.",
		Why:   "Most often the address in the program has a typing mistake, or the MCP server has moved.",
		Steps: []Step{
			{Text: "Compare the address in the program with the addresses on this server's overview page: the link is at the bottom."},
			{Text: "Correct it, and connect again."},
		},
	},
	oauth.CodeTemporarilyUnavailable: {
		Title: "This does not work right now",
		What:  "The server can't sign anybody in at the moment.",
		Why:   "A part that it needs does not answer. Nothing is wrong with your account or the program.",
		Steps: []Step{
			{Text: "Wait a minute, go back to the program and connect again."},
			{Text: "If it still does not work, tell whoever runs this server."},
		},
	},
	oauth.CodeServerError: {
		Title: "Something went wrong on this server",
		What:  "The server ran into a problem of its own and had to stop.",
		Why:   "Nothing is wrong with your account or the program. Whoever runs this server finds the reason in its log.",
		Steps: []Step{
			{Text: "Go back to the program and connect again."},
			{Text: "If this page comes back, send its details to whoever runs this server."},
		},
	},
}
