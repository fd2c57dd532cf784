package pages

import "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"

var englishError = errorWords{
	CallsItself:   "The program calls itself",
	ReturnHint:    "You can go back to the program, which will learn what went wrong. Follow this link only if you came from there and know the address:",
	Return:        "Return to",
	Restart:       "Start again",
	Steps:         "What you can do",
	Details:       "Details for developers",
	RequestID:     "Request",
	RequestIDHint: "If you ask for help, send this number along: it finds the log lines.",
	Guess:         "The request looks like one of a program below. Any program can look like that, so take it as a hint.",
	IfProgram:     "If this is {program}",
}

var englishOtherError = explanation{
	Title: "Signing in did not work",
	What:  "This server could not go on with what the program asked for.",
	Why:   "The details below say why.",
	Steps: []Step{{Text: "Go back to the program and connect again."}, {Text: "If this page comes back, send its details to whoever runs this server."}},
}

var englishUnregistrable = explanation{
	Title: "This server does not know the program",
	What:  "The program that sent you here is not known to this server, so you can't sign in with it.",
	Why:   "Programs can't register here by themselves: whoever runs this server adds them one by one. The program's client_id is not among them.",
	Steps: []Step{
		{Text: "Ask whoever runs this server for a client_id."},
		{Text: "Enter it in the program's settings for this connection, then connect again."},
	},
}

var englishUnknownClient = explanation{
	Title: "This program has to be connected again",
	What:  "The program that sent you here uses a registration that this server does not know.",
	Why:   "Programs register here once and remember it. This one remembers a registration that is no longer good: perhaps the server was set up anew, its keys were replaced, or another server had this address before. Nothing is wrong with your account. The program has to forget its old registration; it then makes a new one by itself.",
	Steps: []Step{{Who: "Any other program", Text: "Remove the connection to this server in the program, and add it again. If that does not help, look there for a way to sign out of this server, or to clear its authentication."}},
}

// englishFixes are the words for the fixes of core/clients.
var englishFixes = map[string]string{
	"antigravity_authenticate": "Open the agent settings, choose Customizations, and press Authenticate beside this server.",
	"claude_code":              "Type /mcp in the program, choose this server, and then Clear authentication. Or run these commands, with the name that this server has in the program in place of NAME:",
	"command":                  "Run these commands, with the name that this server has in the program in place of NAME:",
	"copilot_folder":           "Close the program, delete the folder in which it keeps its registrations, and start it again. On Windows the folder is mcp-oauth-config in the folder .copilot of your user folder.",
	"cursor_logout":            "In the settings under MCP, log out of this server and connect again. If that does not help, remove the server and add it again.",
	"gemini_auth":              "Type this in the program, with the name that this server has there in place of NAME:",
	"inspector_clear":          "Open the settings of this server, choose Clear stored OAuth state, and connect again.",
	"mcp_remote_folder":        "Programs that can't sign in by themselves use it. Close the program, delete the folder in which mcp-remote keeps its registrations, and start the program again. On Windows the folder is .mcp-auth in your user folder.",
	"remove_connector":         "Open the settings, remove the connector, and add it again.",
	"vscode_providers":         "Run Authentication: Remove Dynamic Authentication Providers from the command palette, choose this server, and start the server again.",
}

// englishAgain are the steps where trying again is all there is.
var englishAgain = []Step{
	{Text: "Go back to the program and connect again."},
	{Text: "If this page comes back, remove the connection in the program and add it again."},
	{Text: "If that does not help either, send the details below to whoever makes the program or runs this server."},
}

// englishForDevelopers are the steps where only the program can be changed.
var englishForDevelopers = []Step{
	{Text: "See whether there is an update for the program, then connect again."},
	{Text: "If this page comes back, send the details below to whoever makes the program."},
}

var englishExplanations = map[string]explanation{
	oauth.CodeInvalidRequest: {
		Title: "The program asked in a way that does not work",
		What:  "The request that brought you here is incomplete or has a mistake in it.",
		Why:   "You did nothing wrong: the program made the request. It is not safe to send you back automatically, so you see this page.",
		Steps: englishAgain,
	},
	oauth.CodeInvalidClient: {
		Title: "This server does not accept the program",
		What:  "The program that sent you here could not show who it is.",
		Why:   "Its registration here is missing or no longer good.",
		Steps: englishAgain,
	},
	oauth.CodeUnauthorizedClient: {
		Title: "The program may not do this",
		What:  "The program that sent you here is not allowed to sign you in this way.",
		Why:   "It is registered here for something else.",
		Steps: englishAgain,
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
		Steps: englishForDevelopers,
	},
	oauth.CodeRequestNotSupported: {
		Title: "The program asked in a form that does not exist here",
		What:  "The program packed its request in a way that this server does not unpack.",
		Why:   "Request objects are an addition to OAuth that this server does not have.",
		Steps: englishForDevelopers,
	},
	oauth.CodeRequestURINotSupported: {
		Title: "The program asked in a form that does not exist here",
		What:  "The program only said where its request can be fetched from.",
		Why:   "Fetching requests is an addition to OAuth that this server does not have.",
		Steps: englishForDevelopers,
	},
	oauth.CodeInvalidScope: {
		Title: "The program asked for permissions that do not exist",
		What:  "None of the permissions (scopes) that the program wants exists on this server.",
		Why:   "The program may be set up for another server, or this server was changed.",
		Steps: englishAgain,
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
	oauth.CodeLoginRequired:   englishSilent,
	oauth.CodeConsentRequired: englishSilent,
	"interaction_required":    englishSilent,
}

// englishSilent is for prompt=none (OpenID Connect Core 1.0 §3.1.2.6).
var englishSilent = explanation{
	Title: "This can't be done without asking you",
	What:  "The program wanted to be let in without showing you anything, and this server does not do that here.",
	Why:   "Either you are not signed in, or you have not allowed this program yet. Both need you.",
	Steps: []Step{
		{Text: "Go back to the program and connect again, so that it asks you."},
		{Text: "If this page comes back, send the details below to whoever makes the program."},
	},
}

var englishProblems = map[string]explanation{
	ProblemExpired: {
		Title: "This took too long",
		What:  "The page that you came from is more than 10 minutes old, so this server did not go on with it.",
		Why:   "Whoever finds a page that was left open must not be able to finish what you began. Nothing was changed.",
		Steps: []Step{englishAgain[0]},
	},
	ProblemBrowser: {
		Title: "This step belongs to another browser",
		What:  "Your browser does not have the cookie that this server gave out at the beginning, so it can't tell that it was you who began.",
		Why:   "Either you began in another browser, window or profile, or your browser does not keep cookies of this server. The steps have to stay in one browser, so that nobody else can finish what you began, or have you finish what they began.",
		Steps: []Step{
			{Text: "If somebody sent you a link to this page, stop here: they may be after your account."},
			{Text: "Allow cookies for the address at the top of this page. They are only kept for signing in."},
			{Text: "Go back to the program, connect again, and do everything in the browser window that opens."},
		},
	},
	ProblemUsed: {
		Title: "This was done before",
		What:  "The page that you came from has already been answered, and each can be answered only once.",
		Why:   "Perhaps a button was pressed twice, or you came here with the back button. The first answer counts.",
		Steps: []Step{
			{Text: "Look at the program: it may be connected already. Then you can close this page."},
			{Text: "If it is not, connect again."},
		},
	},
	ProblemForeignForm: {
		Title: "This did not come from a page of this server",
		What:  "Your browser sent a form that this server did not give out, so it was not acted on.",
		Why:   "Another website may have tried to press a button in your name. It can also be that you signed out, or signed in as somebody else, while the page was open.",
		Steps: []Step{
			{Text: "If you pressed a button on a page of this server, open that page anew and press it again."},
			{Text: "If you came from another website, close this page. Nothing was changed."},
		},
	},
	ProblemProvider: {
		Title: "The service where you sign in does not answer",
		What:  "This server asked another service who you are, and got no answer that it could use.",
		Why:   "That service is out of order at the moment, or this server can't reach it. Nothing is wrong with your account or the program.",
		Steps: []Step{
			{Text: "Wait a minute, go back to the program and connect again."},
			{Text: "If there is another way to sign in, choose that one."},
			{Text: "If it still does not work, tell whoever runs this server."},
		},
	},
	ProblemDenied: {
		Title: "You were not signed in",
		What:  "The sign-in was cancelled or refused, so this server does not know who you are.",
		Why:   "Either you cancelled it, or the service where you sign in does not let this account in here.",
		Steps: []Step{
			{Text: "If you cancelled it by mistake, go back to the program and connect again."},
			{Text: "If you did not, try another account or another way to sign in."},
			{Text: "If you should have access, ask whoever runs this server, and send the request number along."},
		},
	},
	ProblemProxy: {
		Title: "This is not the way in",
		What:  "This server lets people in only through another one, which stands before it and says who they are. This request did not come through it.",
		Why:   "Perhaps you opened an address that is not for people, or the server before this one is not set up for it yet.",
		Steps: []Step{
			{Text: "Use the address that you were given for signing in, not a number or an internal name."},
			{Text: "If you did, tell whoever runs this server, and send the request number along: the log says what was missing."},
		},
	},
	ProblemDocument: {
		Title: "This server can't tell which program this is",
		What:  "The program says who it is in a document on the Internet. This server could not get that document, or does not accept it.",
		Why:   "Either the program's website is down or does not let this server in, or something in the document is wrong, or whoever runs this server does not let in programs that are described there. Nothing is wrong with your account.",
		Steps: []Step{
			{Text: "Wait a minute, go back to the program and connect again."},
			{Text: "Check whether there is an update of the program."},
			{Text: "If this page comes back, send its details to whoever runs this server: the reason is in the server's log. They can also give you a client_id to enter in the program."},
		},
	},
	ProblemTooLong: {
		Title: "The program asked for too much at once",
		What:  "The request that brought you here is longer than this server can carry through a sign-in.",
		Why:   "You did nothing wrong: the program made the request.",
		Steps: englishForDevelopers,
	},
}
