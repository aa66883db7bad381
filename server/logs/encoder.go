package logs

import (
	"fmt"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap/zapcore"
)

// EncoderOptions is what the json and console encoders have in common. A key
// that is the empty string leaves its element out.
type EncoderOptions struct {
	// MessageKey is the key of the message. Default: msg.
	MessageKey *string `json:"message_key"`
	// LevelKey is the key of the level. Default: level.
	LevelKey *string `json:"level_key"`
	// TimeKey is the key of the time. Default: ts.
	TimeKey *string `json:"time_key"`
	// NameKey is the key of the logger's name. Default: logger.
	NameKey *string `json:"name_key"`
	// CallerKey is the key of the source position. Default: caller.
	CallerKey *string `json:"caller_key"`
	// StacktraceKey is the key of the stack trace. Default: stacktrace.
	StacktraceKey *string `json:"stacktrace_key"`
	// LineEnding ends each entry. Default: a newline.
	LineEnding string `json:"line_ending"`
	// TimeFormat is how times are written: unix_seconds_float (the default of
	// json), unix_milli_float, unix_nano, iso8601, rfc3339, rfc3339_nano, wall,
	// wall_milli (the default of console), wall_nano, common_log, or a layout of
	// Go's time package.
	TimeFormat string `json:"time_format"`
	// TimeLocal writes times in the local zone instead of UTC.
	TimeLocal bool `json:"time_local"`
	// DurationFormat is how lengths of time are written: s, second or seconds
	// (a float), ns, nano or nanos (an integer), ms, milli or millis (an
	// integer), or string. Default: s.
	DurationFormat string `json:"duration_format"`
	// LevelFormat is how levels are written: lower (the default of json), upper,
	// or color (the default of console).
	LevelFormat string `json:"level_format"`
}

// JSONConfig is the config of the json encoder.
type JSONConfig struct{ EncoderOptions }

// ConsoleConfig is the config of the console encoder.
type ConsoleConfig struct{ EncoderOptions }

func encoderSpecs() []module.Spec {
	return append([]module.Spec{
		module.New(encoders+".json", "Writes each entry as a JSON object on a line of its own.", nil,
			func(_ *module.Env, c *JSONConfig) (zapcore.Encoder, error) { return newJSON(&c.EncoderOptions) },
			module.Words(jsonWords), module.Examples(module.Example{Title: "Times and durations for people", JSON: `{"format": "json", "time_format": "rfc3339", "duration_format": "string"}`})),
		module.New(encoders+".console", "Writes each entry as a line for people to read, its fields as JSON.", nil,
			func(env *module.Env, c *ConsoleConfig) (zapcore.Encoder, error) {
				return newConsole(&c.EncoderOptions, module.Service[*Switch](env).process.NoColor)
			},
			module.Words(consoleWords), module.Examples(module.Example{Title: "Without colours, in local time", JSON: `{"format": "console", "level_format": "upper", "time_local": true}`})),
	}, wrapSpecs()...)
}

func newJSON(o *EncoderOptions) (zapcore.Encoder, error) {
	cfg, err := o.config("unix_seconds_float", "lower")
	if err != nil {
		return nil, err
	}
	return zapcore.NewJSONEncoder(cfg), nil
}

func newConsole(o *EncoderOptions, noColor bool) (zapcore.Encoder, error) {
	level := "color"
	if noColor {
		level = "upper"
	}
	cfg, err := o.config("wall_milli", level)
	if err != nil {
		return nil, err
	}
	bare := cfg
	bare.TimeKey = ""
	return &console{zapcore.NewConsoleEncoder(cfg), zapcore.NewConsoleEncoder(bare)}, nil
}

// defaultEncoder is the encoder of a log that names none.
func defaultEncoder(w *Writer, p *Process) zapcore.Encoder {
	var enc zapcore.Encoder
	if w.Standard && p.Terminal {
		enc, _ = newConsole(&EncoderOptions{}, p.NoColor)
	} else {
		enc, _ = newJSON(&EncoderOptions{})
	}
	return enc
}

// config translates the options for zap.
func (o *EncoderOptions) config(timeFormat, levelFormat string) (zapcore.EncoderConfig, error) {
	key := func(set *string, def string) string {
		if set == nil {
			return def
		}
		return *set
	}
	cfg := zapcore.EncoderConfig{
		MessageKey:    key(o.MessageKey, "msg"),
		LevelKey:      key(o.LevelKey, "level"),
		TimeKey:       key(o.TimeKey, "ts"),
		NameKey:       key(o.NameKey, "logger"),
		CallerKey:     key(o.CallerKey, "caller"),
		StacktraceKey: key(o.StacktraceKey, "stacktrace"),
		LineEnding:    o.LineEnding,
		EncodeCaller:  zapcore.ShortCallerEncoder,
		EncodeName:    zapcore.FullNameEncoder,
	}
	var ps schema.Problems
	cfg.EncodeTime = timeEncoder(or(o.TimeFormat, timeFormat), o.TimeLocal)
	cfg.EncodeDuration, ps = pick(ps, "duration_format", or(o.DurationFormat, "s"), durationFormats())
	cfg.EncodeLevel, ps = pick(ps, "level_format", or(o.LevelFormat, levelFormat), levelFormats())
	if len(ps) > 0 {
		return cfg, ps
	}
	return cfg, nil
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// named is a choice with the names it goes by.
type named[T any] struct {
	names []string
	value T
}

// pick finds the choice called name, or adds a problem with the field.
func pick[T any](ps schema.Problems, field, name string, choices []named[T]) (T, schema.Problems) {
	var all []string
	for _, c := range choices {
		for _, n := range c.names {
			if n == name {
				return c.value, ps
			}
		}
		all = append(all, c.names...)
	}
	var zero T
	return zero, append(ps, schema.Problem{
		Pointer:  "/" + field,
		Message:  fmt.Sprintf("unrecognized %s: %s", strings.ReplaceAll(field, "_", " "), name),
		Found:    name,
		Expected: "one of " + strings.Join(all, ", "),
		Nearest:  schema.Nearest(name, all),
	})
}

func durationFormats() []named[zapcore.DurationEncoder] {
	return []named[zapcore.DurationEncoder]{
		{[]string{"s", "second", "seconds"}, zapcore.SecondsDurationEncoder},
		{[]string{"ns", "nano", "nanos"}, zapcore.NanosDurationEncoder},
		{[]string{"ms", "milli", "millis"}, zapcore.MillisDurationEncoder},
		{[]string{"string"}, zapcore.StringDurationEncoder},
	}
}

func levelFormats() []named[zapcore.LevelEncoder] {
	return []named[zapcore.LevelEncoder]{
		{[]string{"lower"}, zapcore.LowercaseLevelEncoder},
		{[]string{"upper"}, zapcore.CapitalLevelEncoder},
		{[]string{"color"}, zapcore.CapitalColorLevelEncoder},
	}
}

// timeEncoder does not use zap's float formats: they convert the nanoseconds
// since 1970 as one number, which turns .25 into .2499998.
func timeEncoder(format string, local bool) zapcore.TimeEncoder {
	layout := format
	switch format {
	case "unix_seconds_float":
		return func(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
			enc.AppendFloat64(float64(t.Unix()) + float64(t.Nanosecond())/1e9)
		}
	case "unix_milli_float":
		return func(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
			enc.AppendFloat64(float64(t.Unix())*1e3 + float64(t.Nanosecond())/1e6)
		}
	case "unix_nano":
		return zapcore.EpochNanosTimeEncoder
	case "iso8601":
		layout = "2006-01-02T15:04:05.000Z0700"
	case "rfc3339":
		layout = time.RFC3339
	case "rfc3339_nano":
		layout = time.RFC3339Nano
	case "wall":
		layout = "2006/01/02 15:04:05"
	case "wall_milli":
		layout = "2006/01/02 15:04:05.000"
	case "wall_nano":
		layout = "2006/01/02 15:04:05.000000000"
	case "common_log":
		layout = "02/Jan/2006:15:04:05 -0700"
	}
	write := zapcore.TimeEncoderOfLayout(layout)
	if local {
		return func(t time.Time, enc zapcore.PrimitiveArrayEncoder) { write(t.Local(), enc) }
	}
	return func(t time.Time, enc zapcore.PrimitiveArrayEncoder) { write(t.UTC(), enc) }
}
