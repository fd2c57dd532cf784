package mcp

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// subject says where the params of a method name what it is about.
type subject uint8

const (
	nothing subject = iota
	byName
	byURI
	byRef
	byNotifications
	byTask
)

// methods are the requests that MCP defines for servers, with what they are about.
var methods = map[string]subject{
	MethodCallTool:              byName,
	MethodGetPrompt:             byName,
	MethodReadResource:          byURI,
	MethodSubscribe:             byURI,
	MethodUnsubscribe:           byURI,
	MethodComplete:              byRef,
	MethodSubscriptionsListen:   byNotifications,
	MethodListTools:             nothing,
	MethodListPrompts:           nothing,
	MethodListResources:         nothing,
	MethodListResourceTemplates: nothing,
	"initialize":                nothing,
	"ping":                      nothing,
	"logging/setLevel":          nothing,
	"server/discover":           nothing,
	"tasks/cancel":              byTask,
	"tasks/get":                 byTask,
	"tasks/list":                nothing,
	"tasks/result":              byTask,
	"tasks/update":              byTask,
}

// params are the members of params that some method is judged by, as they were
// sent: the method may come after them.
type params struct {
	name, uri, task, ref, arguments, notifications jsontext.Value

	version string
}

// params reads the params of a request or notification.
func (s *scanner) params(e *envelope) error {
	return s.object(func(name []byte) error {
		p := &e.params
		var into *jsontext.Value
		switch string(name) {
		case "name":
			into = &p.name
		case "uri":
			into = &p.uri
		case "taskId":
			into = &p.task
		case "ref":
			into = &p.ref
		case "arguments":
			into = &p.arguments
		case "notifications":
			into = &p.notifications
		case "_meta":
			return s.meta(e)
		case "argument", "requestState", "inputResponses", "task", "cursor", "level", "context",
			"protocolVersion", "capabilities", "clientInfo", "requestId", "progressToken":
			return s.skip()
		default:
			if paramsNames.twin(name) {
				e.fail(CodeInvalidParams, `a member of "params" differs from one of MCP's only in its spelling`)
			}
			return s.skip()
		}
		v, err := s.value()
		*into = v
		return err
	})
}

// meta reads the revision that a request says it is of.
func (s *scanner) meta(e *envelope) error {
	if s.kind() != jsontext.KindBeginObject {
		e.fail(CodeInvalidParams, `"_meta" has to be a JSON object`)
		return s.skip()
	}
	return s.object(func(name []byte) error {
		if string(name) != metaVersion {
			if metaNames.twin(name) {
				e.fail(CodeInvalidParams, `a member of "_meta" differs from "`+metaVersion+`" only in its spelling`)
			}
			return s.skip()
		}
		v, err := s.value()
		if err != nil {
			return err
		}
		version, ok := text(v)
		if !ok {
			e.fail(CodeInvalidParams, `"`+metaVersion+`" has to be a string that is not empty`)
		}
		e.params.version = version
		return nil
	})
}

// target fills in what the call is about, or says what is wrong with it. Policy
// never judges an empty name: a server may have an idea of its own who is meant.
func target(m *Message, what subject, p *params) (wrong string) {
	switch what {
	case byName:
		name, ok := text(p.name)
		if !ok {
			return `"name" has to be a string that is not empty`
		}
		m.Name, m.mirrored = name, name
		switch p.arguments.Kind() {
		case jsontext.KindInvalid, jsontext.KindNull:
		case jsontext.KindBeginObject:
			m.Arguments = p.arguments
		default:
			return `"arguments" has to be a JSON object`
		}
	case byURI:
		uri, ok := text(p.uri)
		if !ok {
			return `"uri" has to be a string that is not empty`
		}
		m.URIs, m.mirrored = []string{uri}, uri
	case byTask:
		// The server says which tasks there are; policy goes by the method alone.
		m.mirrored, _ = text(p.task)
	case byRef:
		return reference(m, p.ref)
	case byNotifications:
		return subscriptions(m, p.notifications)
	case nothing:
	}
	return ""
}

// reference reads the ref of completion/complete.
func reference(m *Message, ref jsontext.Value) (wrong string) {
	const shape = `"ref" has to be {"type":"ref/prompt","name":…} or {"type":"ref/resource","uri":…}`
	var kind, name, uri jsontext.Value
	twin, ok := pick(ref, refNames, func(member []byte, v jsontext.Value) bool {
		switch string(member) {
		case "type":
			kind = v
		case "name":
			name = v
		case "uri":
			uri = v
		default:
			return false
		}
		return true
	})
	if twin {
		return `a member of "ref" differs from one of MCP's only in its spelling`
	}
	if !ok {
		return shape
	}
	switch of, _ := text(kind); of {
	case "ref/prompt":
		m.Name, ok = text(name)
		m.mirrored = m.Name
		ok = ok && uri == nil
	case "ref/resource":
		m.mirrored, ok = text(uri)
		m.URIs = []string{m.mirrored}
		ok = ok && name == nil
	default:
		ok = false
	}
	if !ok {
		return shape
	}
	return ""
}

// subscriptions reads the resources that subscriptions/listen asks for.
func subscriptions(m *Message, notifications jsontext.Value) (wrong string) {
	var list jsontext.Value
	twin, ok := pick(notifications, notificationsNames, func(member []byte, v jsontext.Value) bool {
		switch string(member) {
		case "resourceSubscriptions":
			list = v
		case "toolsListChanged", "promptsListChanged", "resourcesListChanged":
		default:
			return false
		}
		return true
	})
	if twin {
		return `a member of "notifications" differs from one of MCP's only in its spelling`
	}
	if !ok {
		return `"notifications" has to be a JSON object`
	}
	switch list.Kind() {
	case jsontext.KindInvalid, jsontext.KindNull:
		return ""
	case jsontext.KindBeginArray:
	default:
		return `"resourceSubscriptions" has to be an array of URIs`
	}
	s := scan(list)
	defer s.close()
	err := s.array(func(i int) error {
		v, err := s.value()
		if err != nil {
			return err
		}
		uri, ok := text(v)
		switch {
		case !ok:
			wrong = `"resourceSubscriptions" has to be an array of URIs`
		case i == MaxURIs:
			wrong = `more than ` + strconv.Itoa(MaxURIs) + ` "resourceSubscriptions"`
		case wrong == "":
			m.URIs = append(m.URIs, uri)
		}
		return nil
	})
	if err != nil {
		return `"resourceSubscriptions" has to be an array of URIs`
	}
	return wrong
}

// pick walks the members of an object that has been read before. take says
// whether it knows a name; twin is whether one that it does not know can be taken
// for one that it does.
func pick(object jsontext.Value, n names, take func(member []byte, v jsontext.Value) bool) (twin, ok bool) {
	if object.Kind() != jsontext.KindBeginObject {
		return false, false
	}
	s := scan(object)
	defer s.close()
	err := s.object(func(name []byte) error {
		v, err := s.value()
		if err == nil && !take(name, v) && n.twin(name) {
			twin = true
		}
		return err
	})
	return twin, err == nil
}
