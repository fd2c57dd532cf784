package pages

import "github.com/caddy-mcp/caddy-mcp-auth/caddymodule/core/oauth"

var chineseError = errorWords{
	CallsItself:   "该程序自称",
	ReturnHint:    "您可以返回该程序，它会得知出了什么问题。只有当您确实来自那里并认识该地址时，才点击此链接：",
	Return:        "返回",
	Restart:       "重新开始",
	Steps:         "您可以这样做",
	Details:       "供开发者参考的详细信息",
	RequestID:     "请求编号",
	RequestIDHint: "寻求帮助时请附上此编号：凭它可以找到相应的日志。",
	Guess:         "该请求看起来像是来自下面的某个程序。任何程序都可以伪装成这样，因此仅供参考。",
	IfProgram:     "如果这是 {program}",
}

var chineseOtherError = explanation{
	Title: "登录未成功",
	What:  "本服务器无法继续处理该程序的请求。",
	Why:   "原因见下面的详细信息。",
	Steps: []Step{{Text: "返回程序并重新连接。"}, {Text: "如果再次出现此页面，请将详细信息发给本服务器的管理员。"}},
}

var chineseUnregistrable = explanation{
	Title: "本服务器不认识该程序",
	What:  "把您带到这里的程序对本服务器来说是陌生的，因此您无法用它登录。",
	Why:   "程序不能在这里自行注册：由本服务器的管理员逐个添加。该程序的 client_id 不在其中。",
	Steps: []Step{
		{Text: "向本服务器的管理员索取 client_id。"},
		{Text: "在程序中此连接的设置里填入它，然后重新连接。"},
	},
}

var chineseUnknownClient = explanation{
	Title: "需要重新连接该程序",
	What:  "把您带到这里的程序使用了一个本服务器不认识的注册信息。",
	Why:   "程序只在这里注册一次，然后记住结果。这个程序记住的注册信息已经失效：可能是服务器被重新安装，密钥被更换，或者此地址以前属于另一台服务器。您的账号没有问题。程序需要忘掉旧的注册信息，之后它会自行重新注册。",
	Steps: []Step{{Who: "其他程序", Text: "在程序中移除与此服务器的连接，然后重新添加。如果没有帮助，请在程序中查找退出此服务器或清除其身份验证的方法。"}},
}

// chineseFixes are the words for the fixes of core/clients.
var chineseFixes = map[string]string{
	"antigravity_authenticate": "打开代理设置，选择 Customizations，然后点击此服务器旁边的 Authenticate。",
	"claude_code":              "在程序中输入 /mcp，选择此服务器，然后选择 Clear authentication。或者运行下面的命令，并将 NAME 换成此服务器在程序中的名称：",
	"command":                  "运行下面的命令，并将 NAME 换成此服务器在程序中的名称：",
	"copilot_folder":           "关闭程序，删除它保存注册信息的文件夹，然后重新启动。在 Windows 上，该文件夹是您用户文件夹中 .copilot 文件夹里的 mcp-oauth-config。",
	"cursor_logout":            "在设置的 MCP 部分退出此服务器并重新连接。如果没有帮助，请移除该服务器并重新添加。",
	"gemini_auth":              "在程序中输入下面的内容，并将 NAME 换成此服务器在程序中的名称：",
	"inspector_clear":          "打开此服务器的设置，选择 Clear stored OAuth state，然后重新连接。",
	"mcp_remote_folder":        "无法自行登录的程序会使用它。关闭程序，删除 mcp-remote 保存注册信息的文件夹，然后重新启动程序。在 Windows 上，该文件夹是您用户文件夹中的 .mcp-auth。",
	"remove_connector":         "打开设置，移除该连接器，然后重新添加。",
	"vscode_providers":         "在命令面板中运行 Authentication: Remove Dynamic Authentication Providers，选择此服务器，然后重新启动它。",
}

// chineseAgain are the steps where trying again is all there is.
var chineseAgain = []Step{
	{Text: "返回程序并重新连接。"},
	{Text: "如果再次出现此页面，请在程序中移除该连接并重新添加。"},
	{Text: "如果仍然没有帮助，请将下面的详细信息发给程序的开发者或本服务器的管理员。"},
}

// chineseForDevelopers are the steps where only the program can be changed.
var chineseForDevelopers = []Step{
	{Text: "检查该程序是否有更新，然后重新连接。"},
	{Text: "如果再次出现此页面，请将下面的详细信息发给程序的开发者。"},
}

var chineseExplanations = map[string]explanation{
	oauth.CodeInvalidRequest: {
		Title: "该程序的请求方式有误",
		What:  "把您带到这里的请求不完整，或者含有错误。",
		Why:   "您没有做错什么：请求是程序发出的。自动把您送回去并不安全，所以您看到了此页面。",
		Steps: chineseAgain,
	},
	oauth.CodeInvalidClient: {
		Title: "本服务器不接受该程序",
		What:  "把您带到这里的程序无法证明自己的身份。",
		Why:   "它在这里的注册信息不存在或已失效。",
		Steps: chineseAgain,
	},
	oauth.CodeUnauthorizedClient: {
		Title: "该程序无权这样做",
		What:  "把您带到这里的程序不能以这种方式让您登录。",
		Why:   "它在这里注册的是其他用途。",
		Steps: chineseAgain,
	},
	oauth.CodeAccessDenied: {
		Title: "您未被准许进入",
		What:  "本服务器拒绝让您登录。",
		Why:   "可能是您的账号不在可使用之列，可能是登录被取消，也可能是本服务器不接受从您所在位置发起的登录。",
		Steps: []Step{
			{Text: "返回程序并重新连接；如果您有其他账号，请换用那个账号。"},
			{Text: "如果您应当有权访问，请联系本服务器的管理员放行，并附上下面的详细信息。"},
		},
	},
	oauth.CodeUnsupportedResponseType: {
		Title: "该程序要求的登录方式在这里不存在",
		What:  "该程序想要的答复形式，本服务器并不提供。",
		Why:   "本服务器遵循 OAuth 2.1，其中已去掉较旧且不够安全的形式。",
		Steps: chineseForDevelopers,
	},
	oauth.CodeRequestNotSupported: {
		Title: "该程序使用的请求形式在这里不存在",
		What:  "该程序打包请求的方式，本服务器无法解开。",
		Why:   "请求对象是 OAuth 的一项附加功能，本服务器没有提供。",
		Steps: chineseForDevelopers,
	},
	oauth.CodeRequestURINotSupported: {
		Title: "该程序使用的请求形式在这里不存在",
		What:  "该程序只说明了可以从哪里取得它的请求。",
		Why:   "自行取得请求是 OAuth 的一项附加功能，本服务器没有提供。",
		Steps: chineseForDevelopers,
	},
	oauth.CodeInvalidScope: {
		Title: "该程序请求的权限不存在",
		What:  "该程序想要的权限（scope）在本服务器上一个也不存在。",
		Why:   "该程序可能是为另一台服务器设置的，或者本服务器已经更改。",
		Steps: chineseAgain,
	},
	oauth.CodeInvalidTarget: {
		Title: "程序中的地址与本服务器不符",
		What:  "该程序想访问的地址不受本服务器保护。",
		Why:   "最常见的原因是程序中的地址有输入错误，或者 MCP 服务器已经迁移。",
		Steps: []Step{
			{Text: "将程序中的地址与本服务器概览页面上的地址进行比较：链接在页面底部。"},
			{Text: "更正后重新连接。"},
		},
	},
	oauth.CodeTemporarilyUnavailable: {
		Title: "暂时无法使用",
		What:  "服务器目前无法让任何人登录。",
		Why:   "它所依赖的某个部分没有响应。您的账号和程序都没有问题。",
		Steps: []Step{
			{Text: "稍等一分钟，返回程序并重新连接。"},
			{Text: "如果仍然不行，请告知本服务器的管理员。"},
		},
	},
	oauth.CodeServerError: {
		Title: "本服务器出了问题",
		What:  "服务器自身遇到问题，不得不停止。",
		Why:   "您的账号和程序都没有问题。本服务器的管理员可以在日志中找到原因。",
		Steps: []Step{
			{Text: "返回程序并重新连接。"},
			{Text: "如果再次出现此页面，请将详细信息发给本服务器的管理员。"},
		},
	},
	oauth.CodeLoginRequired:   chineseSilent,
	oauth.CodeConsentRequired: chineseSilent,
	"interaction_required":    chineseSilent,
}

// chineseSilent is for prompt=none (OpenID Connect Core 1.0 §3.1.2.6).
var chineseSilent = explanation{
	Title: "此操作必须征求您的同意",
	What:  "该程序想在不向您显示任何内容的情况下获得放行，而本服务器在此情况下不允许这样做。",
	Why:   "可能是您尚未登录，也可能是您还没有允许过该程序。这两种情况都需要您参与。",
	Steps: []Step{
		{Text: "返回程序并重新连接，让它征求您的同意。"},
		{Text: "如果再次出现此页面，请将下面的详细信息发给程序的开发者。"},
	},
}

var chineseProblems = map[string]explanation{
	ProblemExpired: {
		Title: "耗时过长",
		What:  "您刚才所在的页面已打开超过 10 分钟，因此本服务器没有继续处理。",
		Why:   "这样可以防止别人利用一个没有关闭的页面完成您开始的操作。没有任何内容被更改。",
		Steps: []Step{chineseAgain[0]},
	},
	ProblemBrowser: {
		Title: "这一步属于另一个浏览器",
		What:  "您的浏览器没有本服务器在开始时发出的 Cookie，因此无法确认发起操作的是您。",
		Why:   "可能是您在另一个浏览器、窗口或用户配置中开始的，也可能是您的浏览器不保存本服务器的 Cookie。所有步骤必须在同一个浏览器中完成，这样别人既不能完成您开始的操作，也不能让您完成他们开始的操作。",
		Steps: []Step{
			{Text: "如果是别人把指向此页面的链接发给您的，请就此停止：他们可能想盗用您的账号。"},
			{Text: "请允许此页面顶部所示地址使用 Cookie。它们只用于登录。"},
			{Text: "返回程序，重新连接，并在打开的浏览器窗口中完成所有步骤。"},
		},
	},
	ProblemUsed: {
		Title: "这一步已经完成过",
		What:  "您刚才所在的页面已经提交过，而每个页面只能提交一次。",
		Why:   "可能是按钮被点击了两次，也可能是您用后退按钮回到了这里。以第一次提交为准。",
		Steps: []Step{
			{Text: "看看该程序：它可能已经连接成功。如果是这样，您可以关闭此页面。"},
			{Text: "如果没有，请重新连接。"},
		},
	},
	ProblemForeignForm: {
		Title: "这不是来自本服务器页面的请求",
		What:  "您的浏览器发送了一个并非由本服务器给出的表单，因此没有执行。",
		Why:   "可能是另一个网站试图以您的名义点击按钮，也可能是页面打开期间您退出了登录或换用了别的账号。",
		Steps: []Step{
			{Text: "如果您确实点击了本服务器页面上的按钮，请重新打开该页面再点击一次。"},
			{Text: "如果您来自其他网站，请关闭此页面。没有任何内容被更改。"},
		},
	},
	ProblemProvider: {
		Title: "您用来登录的服务没有响应",
		What:  "本服务器向另一个服务询问您的身份，但没有得到可用的答复。",
		Why:   "该服务目前出现故障，或者本服务器无法连接到它。您的账号和程序都没有问题。",
		Steps: []Step{
			{Text: "稍等一分钟，返回程序并重新连接。"},
			{Text: "如果还有其他登录方式，请改用那种方式。"},
			{Text: "如果仍然不行，请告知本服务器的管理员。"},
		},
	},
	ProblemDenied: {
		Title: "您未能登录",
		What:  "登录被取消或被拒绝，因此本服务器不知道您是谁。",
		Why:   "可能是您自己取消了，也可能是您用来登录的服务不允许此账号进入这里。",
		Steps: []Step{
			{Text: "如果是误操作取消的，请返回程序并重新连接。"},
			{Text: "如果不是，请尝试其他账号或其他登录方式。"},
			{Text: "如果您应当有权访问，请联系本服务器的管理员，并附上请求编号。"},
		},
	},
	ProblemProxy: {
		Title: "这里不是入口",
		What:  "本服务器只接受经由前面另一台服务器进入的人，由那台服务器说明来者是谁。而此请求没有经过它。",
		Why:   "可能是您打开了一个不供人使用的地址，也可能是前面的服务器尚未完成相应设置。",
		Steps: []Step{
			{Text: "请使用提供给您的登录地址，而不是数字地址或内部名称。"},
			{Text: "如果您用的就是该地址，请告知本服务器的管理员，并附上请求编号：日志中记录了缺少什么。"},
		},
	},
	ProblemDocument: {
		Title: "本服务器无法确认这是哪个程序",
		What:  "该程序通过互联网上的一份文档说明自己的身份。本服务器没能取得这份文档，或者不接受它。",
		Why:   "可能是该程序的网站出现故障或拒绝本服务器访问，可能是文档中有错误，也可能是本服务器的管理员不接受由那里说明的程序。您的账号没有问题。",
		Steps: []Step{
			{Text: "稍等一分钟，返回程序并重新连接。"},
			{Text: "检查该程序是否有更新。"},
			{Text: "如果再次出现此页面，请将下面的详细信息发给本服务器的管理员：原因在服务器的日志中。管理员也可以给您一个 client_id，供您填入程序。"},
		},
	},
	ProblemTooLong: {
		Title: "该程序一次请求的内容过多",
		What:  "把您带到这里的请求过长，本服务器无法在登录过程中携带它。",
		Why:   "您没有做错什么：请求是程序发出的。",
		Steps: chineseForDevelopers,
	},
}
