package events

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Event is something that happened or is about to. It is immutable.
type Event struct {
	// ID tells events apart.
	ID string
	// Time is when it was emitted.
	Time time.Time
	// Name says what happened, such as "cert_obtained".
	Name string
	// Origin is the ID of the module that emitted it, "" for the process itself.
	Origin string
	// Data is the details. It is shared by all handlers.
	Data map[string]any
}

// String is name and ID.
func (e *Event) String() string { return e.Name + " (" + e.ID + ")" }

// Lookup knows the placeholders of an event: event, event.id, event.name,
// event.time, event.time_unix (milliseconds), event.module, event.data and
// event.data.KEY, without braces. So an Event is a vars.Scope.
func (e *Event) Lookup(name string) (any, bool) {
	if name == "event" {
		return e, true
	}
	field, ok := strings.CutPrefix(name, "event.")
	if !ok {
		return nil, false
	}
	switch field {
	case "id":
		return e.ID, true
	case "name":
		return e.Name, true
	case "time":
		return e.Time, true
	case "time_unix":
		return e.Time.UnixMilli(), true
	case "module":
		return e.Origin, true
	case "data":
		return e.Data, true
	}
	if key, ok := strings.CutPrefix(field, "data."); ok {
		return e.Data[key], true
	}
	return nil, false
}

// processSource is the source of a CloudEvent of the process itself, which must
// not be empty.
const processSource = "sluice"

// CloudEvent is an event in the form of the CloudEvents specification 1.0, to be
// written as JSON.
type CloudEvent struct {
	// ID is the event's, Source its origin, Type its name.
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	SpecVersion string    `json:"specversion"`
	Type        string    `json:"type"`
	Time        time.Time `json:"time"`
	// DataContentType is set where there are data.
	DataContentType string          `json:"datacontenttype,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
}

// CloudEvent returns the event as a CloudEvent. Data that has no JSON form is in
// it as text.
func (e *Event) CloudEvent() CloudEvent {
	c := CloudEvent{ID: e.ID, Source: e.Origin, SpecVersion: "1.0", Type: e.Name, Time: e.Time}
	if c.Source == "" {
		c.Source = processSource
	}
	if len(e.Data) > 0 {
		values := make(map[string]json.RawMessage, len(e.Data))
		for k, v := range e.Data {
			values[k] = jsonOf(v)
		}
		c.DataContentType = "application/json"
		c.Data, _ = json.Marshal(values) // text and what Marshal made: it cannot fail
	}
	return c
}

func jsonOf(v any) json.RawMessage {
	if err, ok := v.(error); ok {
		v = err.Error()
	}
	raw, err := json.Marshal(v)
	if err != nil {
		raw, _ = json.Marshal(fmt.Sprint(v))
	}
	return raw
}

// newID is a random UUID, version 4 of RFC 9562.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
