package pages

import "golang.org/x/text/language"

// languages are the catalogues, the one for everybody else first. A
// translation is one more file, and a line here.
var languages = []*words{&english, &chinese}

var matcher = language.NewMatcher(tags())

// maxAccept bounds how much of an Accept-Language header is looked at, in
// bytes.
const maxAccept = 300

func tags() []language.Tag {
	all := make([]language.Tag, len(languages))
	for i, t := range languages {
		all[i] = language.MustParse(t.Lang)
	}
	return all
}

// wordsFor returns the words for the value of an Accept-Language header
// (RFC 9110 §12.5.4). A reader of traditional Chinese gets the simplified one,
// unless they also name a language that fits better.
func wordsFor(accept string) *words {
	if len(accept) > maxAccept {
		return languages[0]
	}
	_, i := language.MatchStrings(matcher, accept)
	return languages[i]
}
