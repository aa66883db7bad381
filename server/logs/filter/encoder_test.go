package filter

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func jsonEncoder() zapcore.Encoder {
	return zapcore.NewJSONEncoder(zapcore.EncoderConfig{EncodeDuration: zapcore.SecondsDurationEncoder, EncodeTime: zapcore.EpochTimeEncoder})
}

// encode is the line that an encoder makes of fields, without its end.
func encode(t testing.TB, enc zapcore.Encoder, fields ...zapcore.Field) string {
	t.Helper()
	buf, err := enc.EncodeEntry(zapcore.Entry{}, fields)
	if err != nil {
		t.Fatal(err)
	}
	defer buf.Free()
	if !json.Valid(buf.Bytes()) {
		t.Errorf("no JSON: %s", buf)
	}
	return strings.TrimSpace(buf.String())
}

// request is an object as servers log it.
type request struct{}

func (request) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("remote_ip", "1.2.3.4")
	enc.AddString("uri", "/p?foo=1&b=2")
	_ = enc.AddObject("headers", zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		_ = enc.AddArray("Cookie", list{"foo=a; x=1", "bar=b"})
		_ = enc.AddArray("Set-Cookie", list{"foo=a; Path=/", "bar=b", "x=1"})
		return enc.AddArray("Accept", list{"*/*"})
	}))
	return enc.AddObject("tls", zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		enc.AddBool("resumed", true)
		enc.AddUint16("version", 772)
		return nil
	}))
}

type list []string

func (l list) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for _, s := range l {
		enc.AppendString(s)
	}
	return nil
}

const whole = `{"request":{"remote_ip":"1.2.3.4","uri":"/p?foo=1&b=2","headers":{"Cookie":["foo=a; x=1","bar=b"],"Set-Cookie":["foo=a; Path=/","bar=b","x=1"],"Accept":["*/*"]},"tls":{"resumed":true,"version":772}},"status":200}`

func TestEncoder(t *testing.T) {
	cases := []struct {
		fields    map[string]*Filter
		old, with string // pairs of whole, what they become
	}{
		{nil, "", ""},
		{map[string]*Filter{"nothing": Delete(), "request>x>y": Delete(), "uri": Query(three), "request>headers>accept": Delete()}, "", ""},
		{map[string]*Filter{"status": Delete()}, `,"status":200`, ``},
		{map[string]*Filter{"status": Rename("code")}, `"status":200`, `"code":200`},
		{map[string]*Filter{"status": Replace("x")}, `"status":200`, `"status":"x"`},
		{map[string]*Filter{"status": Hash()}, `200`, `"` + Sum("200") + `"`},
		{map[string]*Filter{"status": IPMask(8, 8)}, "", ""},
		{map[string]*Filter{"request": Delete()}, whole[1:strings.Index(whole, `"status"`)], ``},
		{map[string]*Filter{"request": Replace("x")}, whole[len(`{"request":`):strings.Index(whole, `,"status"`)], `"x"`},
		{map[string]*Filter{"request": Rename("r"), "request>tls": Delete()}, `"request":{`, `"r":{`},
		{map[string]*Filter{"request>remote_ip": IPMask(16, 32)}, `1.2.3.4`, `1.2.0.0`},
		{map[string]*Filter{"request>remote_ip": Rename("ip")}, `remote_ip`, `ip`},
		{map[string]*Filter{"request>uri": Query(three)}, `/p?foo=1&b=2`, `/p?b=2&foo=REDACTED`},
		{map[string]*Filter{"request>headers>Cookie": Cookie(three)}, `["foo=a; x=1","bar=b"]`, `["foo=REDACTED; x=1",""]`},
		{map[string]*Filter{"request>headers>Cookie": Hash()}, `["foo=a; x=1","bar=b"]`, `["` + Sum("foo=a; x=1") + `","` + Sum("bar=b") + `"]`},
		{map[string]*Filter{"request>headers>Cookie": Delete()}, `"Cookie":["foo=a; x=1","bar=b"],`, ``},
		{map[string]*Filter{"request>headers>Cookie": Replace("no")}, `["foo=a; x=1","bar=b"]`, `"no"`},
		{map[string]*Filter{"request>headers>Set-Cookie": SetCookie(three)}, `["foo=a; Path=/","bar=b","x=1"]`, `["foo=REDACTED; Path=/","x=1"]`},
		{map[string]*Filter{"request>headers": Delete()}, whole[strings.Index(whole, `"headers"`):strings.Index(whole, `"tls"`)], ``},
		{map[string]*Filter{"request>tls>resumed": Hash()}, `true`, `"` + Sum("true") + `"`},
		{map[string]*Filter{"request>tls>version": Delete()}, `,"version":772`, ``},
	}
	for _, c := range cases {
		want := strings.Replace(whole, c.old, c.with, 1)
		if c.fields["request>tls"] != nil {
			want = strings.Replace(want, `,"tls":{"resumed":true,"version":772}`, "", 1)
		}
		enc := NewTree(c.fields).Encoder(jsonEncoder())
		if got := encode(t, enc, zap.Object("request", request{}), zap.Int("status", 200)); got != want {
			t.Errorf("%v:\n got %s\nwant %s", reflect.ValueOf(c.fields).MapKeys(), got, want)
		}
		clone := enc.Clone() // as loggers with context do
		zap.Object("request", request{}).AddTo(clone)
		if got := encode(t, clone, zap.Int("status", 200)); got != want {
			t.Errorf("%v, as context:\n got %s\nwant %s", reflect.ValueOf(c.fields).MapKeys(), got, want)
		}
	}
}

// all is a field of each type that zap has, each named by its place.
func all() []zapcore.Field {
	at := time.Unix(1, 0).UTC()
	return []zapcore.Field{
		zap.Binary("binary", []byte("b")), zap.Bool("bool", true), zap.ByteString("bytes", []byte("text")), zap.Complex128("c128", 1),
		zap.Complex64("c64", 2), zap.Duration("duration", time.Second), zap.Float64("f64", 1.5), zap.Float32("f32", 2.5), zap.Int64("i64", -1),
		zap.Int32("i32", -2), zap.Int16("i16", -3), zap.Int8("i8", -4), zap.String("string", "s"), zap.Time("time", at),
		{Key: "full", Type: zapcore.TimeFullType, Interface: at}, zap.Uint64("u64", math.MaxUint64), zap.Uint32("u32", 2), zap.Uint16("u16", 3), zap.Uint8("u8", 4),
		zap.Uintptr("uptr", 5), zap.Reflect("reflect", map[string]any{"k": []string{"v"}}), zap.Stringer("stringer", netip.MustParseAddr("1.2.3.4")),
		zap.NamedError("error", errors.New("bad")), zap.Object("object", request{}), zap.Array("array", list{"e"}), zap.Skip(),
		zap.Strings("strings", []string{"a", "b"}), zap.Ints("ints", []int{1, 2}), zap.Any("headers", http.Header{"A": {"x"}}),
		zap.Uint("uint", 6), zap.Int("int", 7), zap.Inline(request{}), zap.Stringer("nil", (*netip.Addr)(nil)), zap.Namespace("space"), zap.String("inside", "i"),
	}
}

// TestEveryType: what no filter names goes through unchanged, whatever its type
// and on either way; what is deleted is gone; what is hashed shows nothing.
func TestEveryType(t *testing.T) {
	bare := encode(t, jsonEncoder(), all()...)
	plainTree := NewTree(map[string]*Filter{"other": Delete()})
	if got := encode(t, plainTree.Encoder(jsonEncoder()), all()...); got != bare {
		t.Errorf("unfiltered\n got %s\nwant %s", got, bare)
	}
	through := zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
		for _, f := range all() {
			f.AddTo(enc)
		}
		return nil
	})
	nested := NewTree(map[string]*Filter{"o>other": Delete()})
	if got, want := encode(t, nested.Encoder(jsonEncoder()), zap.Object("o", through)), encode(t, jsonEncoder(), zap.Object("o", through)); got != want {
		t.Errorf("unfiltered, nested\n got %s\nwant %s", got, want)
	}
	for _, f := range all() {
		if f.Key == "" || f.Type == zapcore.NamespaceType {
			continue
		}
		line := encode(t, NewTree(map[string]*Filter{f.Key: Delete()}).Encoder(jsonEncoder()), f)
		if line != "{}" {
			t.Errorf("%s deleted: %s", f.Key, line)
		}
		line = encode(t, NewTree(map[string]*Filter{f.Key: Rename("new")}).Encoder(jsonEncoder()), f)
		if !strings.HasPrefix(line, `{"new":`) {
			t.Errorf("%s renamed: %s", f.Key, line)
		}
		var hashed map[string]any
		line = encode(t, NewTree(map[string]*Filter{f.Key: Hash()}).Encoder(jsonEncoder()), f)
		if err := json.Unmarshal([]byte(line), &hashed); err != nil || len(hashed) != 1 || !sums(hashed[f.Key]) {
			t.Errorf("%s hashed: %s", f.Key, line)
		}
	}
}

// sums reports whether there are only hashes in a value.
func sums(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) == 8 && strings.Trim(v, "0123456789abcdef") == ""
	case []any:
		for _, e := range v {
			if !sums(e) {
				return false
			}
		}
		return true
	}
	return false
}

func TestOtherShapes(t *testing.T) {
	mask := func(path string) zapcore.Encoder {
		return NewTree(map[string]*Filter{path: Regexp(anyDigit, "#")}).Encoder(jsonEncoder())
	}
	value := map[string]any{"a": []any{"1", 2, map[string]any{"b": "3", "c": "4"}}}
	cases := []struct {
		path  string
		field zapcore.Field
		want  string
	}{
		{"x", zap.Reflect("x", "12"), `{"x":"##"}`},
		{"x", zap.Reflect("x", []string{"1", "b"}), `{"x":["#","b"]}`},
		{"x>a", zap.Reflect("x", value), `{"x":{"a":["#",2,{"b":"3","c":"4"}]}}`},
		{"x>a>b", zap.Reflect("x", value), `{"x":{"a":["1",2,{"b":"#","c":"4"}]}}`},
		{"x", zap.Reflect("x", nil), `{"x":null}`},
		{"x", zap.Any("x", []zapcore.ObjectMarshaler{request{}}), `{"x":[{}]}`},
		{"x", zap.Error(errors.New("1")), `{"error":"1"}`},
		{"error", zap.Error(errors.New("1")), `{"error":"#"}`},
		{"x>A", zap.Any("x", http.Header{"A": {"1"}, "B": {"1"}}), `{"x":{"A":["#"],"B":["1"]}}`},
		{"x>remote_ip", zap.Objects("x", []request{{}}), strings.Replace(`{"x":[`+whole[len(`{"request":`):strings.Index(whole, `,"status"`)]+`]}`, "1.2.3.4", "#.#.#.#", 1)},
		{"remote_ip", zap.Inline(request{}), strings.Replace(whole[len(`{"request":`):strings.Index(whole, `,"status"`)], "1.2.3.4", "#.#.#.#", 1)},
	}
	for _, c := range cases {
		if got := encode(t, mask(c.path), c.field); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.path, got, c.want)
		}
	}
	space := []zapcore.Field{zap.Namespace("n"), zap.String("a", "1"), zap.Int("b", 2)}
	for path, want := range map[string]string{"n>a": `{"n":{"a":"#","b":2}}`, "a": `{"n":{"a":"1","b":2}}`} {
		if got := encode(t, mask(path), space...); got != want {
			t.Errorf("namespace %s: got %s", path, got)
		}
	}
	for _, f := range []*Filter{Delete(), Replace("x")} {
		enc := NewTree(map[string]*Filter{"n": f}).Encoder(jsonEncoder())
		if got := encode(t, enc, space...); strings.ContainsAny(got, "12") {
			t.Errorf("a namespace that is removed: %s", got)
		}
		clone := enc.Clone()
		space[0].AddTo(clone)
		if got := encode(t, clone, space[1:]...); strings.ContainsAny(got, "12") {
			t.Errorf("a namespace that is removed, as context: %s", got)
		}
	}
}

func BenchmarkEncoder(b *testing.B) {
	for name, fields := range map[string]map[string]*Filter{
		"none":    {},
		"typical": {"request>remote_ip": IPMask(16, 32), "request>headers>Cookie": Delete(), "request>uri": Query(three)},
	} {
		b.Run(name, func(b *testing.B) {
			enc := NewTree(fields).Encoder(jsonEncoder())
			b.ReportAllocs()
			for b.Loop() {
				buf, _ := enc.EncodeEntry(zapcore.Entry{}, []zapcore.Field{zap.Object("request", request{}), zap.Int("status", 200)})
				buf.Free()
			}
		})
	}
}
