package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// exampleWidth is the longest line of an example.
const exampleWidth = 88

// pretty lays out JSON for people: keys stay in their order, and what fits on a
// line stays on it.
func pretty(text string) (string, error) {
	var b strings.Builder
	err := lay(&b, json.RawMessage(text), "", 0)
	return b.String(), err
}

// lay prints a value whose first line begins at column used.
func lay(b *strings.Builder, v json.RawMessage, indent string, used int) error {
	flat, err := oneLine(v)
	if err != nil {
		return err
	}
	v = bytes.TrimSpace(v)
	if used+len(flat) <= exampleWidth || (v[0] != '{' && v[0] != '[') {
		b.WriteString(flat)
		return nil
	}
	keys, values, err := parts(v)
	if err != nil {
		return err
	}
	inner := indent + "  "
	b.WriteByte(v[0])
	for i, value := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n" + inner)
		start := len(inner)
		if keys != nil {
			b.WriteString(keys[i] + ": ")
			start += len(keys[i]) + 2
		}
		if err := lay(b, value, inner, start+1); err != nil {
			return err
		}
	}
	b.WriteString("\n" + indent)
	b.WriteByte(v[0] + 2) // '}' and ']' stand two behind '{' and '['
	return nil
}

// parts splits an object or an array; keys is nil for an array.
func parts(v json.RawMessage) (keys []string, values []json.RawMessage, err error) {
	dec := json.NewDecoder(bytes.NewReader(v))
	open, err := dec.Token()
	if err != nil {
		return nil, nil, err
	}
	for dec.More() {
		if open == json.Delim('{') {
			key, err := dec.Token()
			if err != nil {
				return nil, nil, err
			}
			keys = append(keys, strconv.Quote(key.(string)))
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, nil, err
		}
		values = append(values, value)
	}
	return keys, values, nil
}

// oneLine prints JSON with a space behind each comma and colon.
func oneLine(v json.RawMessage) (string, error) {
	v = bytes.TrimSpace(v)
	if len(v) == 0 || (v[0] != '{' && v[0] != '[') {
		return string(v), nil
	}
	keys, values, err := parts(v)
	if err != nil {
		return "", err
	}
	list := make([]string, len(values))
	for i, value := range values {
		if list[i], err = oneLine(value); err != nil {
			return "", err
		}
		if keys != nil {
			list[i] = keys[i] + ": " + list[i]
		}
	}
	return string(v[0]) + strings.Join(list, ", ") + string(v[0]+2), nil
}
