package clients

import (
	_ "embed" // documents.json
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// document is a metadata document that a client publishes, as it was seen.
type document struct {
	Seen     string          `json:"seen"`
	Note     string          `json:"note"` // what is not certain about the copy
	Document json.RawMessage `json:"document"`

	clientID string
	seen     time.Time
}

//go:embed documents.json
var documentsJSON []byte

var documents = sync.OnceValue(func() []document {
	list, err := readDocuments(documentsJSON)
	if err != nil {
		panic("documents.json: " + err.Error()) // it is embedded, and a test reads it
	}
	return list
})

func readDocuments(text []byte) ([]document, error) {
	var list []document
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	for i := range list {
		var head struct {
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal(list[i].Document, &head); err != nil {
			return nil, err
		}
		seen, err := time.Parse(time.DateOnly, list[i].Seen)
		if err != nil {
			return nil, err
		}
		list[i].clientID, list[i].seen = head.ClientID, seen
	}
	return list, nil
}

// Document returns the copy of the metadata document at a URL, and the day when
// the document was there. It is for when the document itself can't be fetched:
// some are kept behind a guard that takes servers for robots.
func Document(clientID string) (raw []byte, seen time.Time, ok bool) {
	for _, d := range documents() {
		if d.clientID == clientID {
			return slices.Clone(d.Document), d.seen, true
		}
	}
	return nil, time.Time{}, false
}
