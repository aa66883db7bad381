package module

import (
	"testing"

	"github.com/sluiceproxy/sluice/config"
)

type encoded struct {
	Text  string            `json:"text"`
	Count int               `json:"count"`
	On    bool              `json:"on"`
	Wait  Duration          `json:"wait"`
	Weak  WeakString        `json:"weak"`
	List  []string          `json:"list"`
	Map   map[string][]int  `json:"map"`
	Inner struct{ A int }   `json:"inner"`
	Ptr   *encodedInner     `json:"ptr"`
	Ref   Ref[int]          `json:"ref" module:"x" inline:"y"`
	Later Later             `json:"later"`
	Any   any               `json:"any"`
	Deep  map[string]string `json:"deep"`
	encodedEmbedded
}

type encodedInner struct {
	N int `json:"n"`
}

type encodedEmbedded struct {
	Own string `json:"own"`
}

func TestEncode(t *testing.T) {
	spec := New("kind", "A kind.", &encoded{Count: 7, On: true, Ptr: &encodedInner{N: 3}}, func(*Env, *encoded) (int, error) { return 0, nil })
	table, err := NewTable([]Spec{spec}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  any
		want string
	}{
		{"nothing", nil, `{}`},
		{"a node", config.NewString("x"), `"x"`},
		{"defaults", &encoded{Count: 7, On: true, Ptr: &encodedInner{N: 3}}, `{}`},
		{"off the defaults", &encoded{}, `{"count":0,"on":false,"ptr":null}`},
		{"numbers and texts", &encoded{Text: "t", Count: 8, On: true, Wait: 5, Weak: "0200", Ptr: &encodedInner{N: 3}}, `{"count":8,"text":"t","wait":5,"weak":200}`},
		{"weak words", map[string]any{"a": WeakString("true"), "b": WeakString("{x}"), "c": WeakString("")}, `{"a":true,"b":"{x}","c":""}`},
		{"what a pointer points to", &encoded{Count: 7, On: true, Ptr: &encodedInner{}}, `{"ptr":{"n":0}}`},
		{"lists and maps", &encoded{Count: 7, On: true, Ptr: &encodedInner{N: 3}, List: []string{}, Map: map[string][]int{"a": nil, "b": {}, "c": {1}}}, `{"map":{"a":null,"b":[],"c":[1]}}`},
		{"a slot", &encoded{Count: 7, On: true, Ptr: &encodedInner{N: 3}, Ref: RefTo[int](config.NewObject(nil))}, `{"ref":{}}`},
		{"any, and what is embedded", &encoded{Count: 7, On: true, Ptr: &encodedInner{N: 3}, Any: []any{1, "x", nil, true}, encodedEmbedded: encodedEmbedded{"o"}}, `{"any":[1,"x",null,true],"own":"o"}`},
		{"not of that kind: no defaults", &struct {
			A int `json:"a"`
		}{}, `{}`},
	} {
		n, err := table.Encode("kind", tt.cfg)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := string(n.AppendJSON(nil)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if _, err := table.Encode("kind", &struct {
		F func() `json:"f"`
	}{func() {}}); err == nil {
		t.Error("a function has a JSON form")
	}
}
