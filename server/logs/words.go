package logs

import (
	"fmt"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// plain reads a writer that has no settings.
func plain[C any](_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	var none caddyfile.Options[C]
	cfg := new(C)
	return cfg, readModule(d, &none, cfg)
}

// readModule reads a module that takes no arguments and a block of options.
func readModule[C any](d *caddyfile.Dispenser, options *caddyfile.Options[C], cfg *C) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	if len(options.Lines) == 0 && d.OpensBlock() {
		return d.Errf("malformed %s: blocks are not supported", d.Val())
	}
	return options.Parse(d, cfg)
}

// arguments reads a module's arguments, whose number must be allowed, and then
// its block.
func arguments[C any](d *caddyfile.Dispenser, count caddyfile.Count, options *caddyfile.Options[C], cfg *C) ([]caddyfile.Token, error) {
	d.Next()
	args := d.RemainingArgTokens()
	if !count.Allows(len(args)) {
		return nil, d.ArgErr()
	}
	return args, options.Parse(d, cfg)
}

func jsonWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &JSONConfig{}
	return cfg, readModule(d, &encoderWords, &cfg.EncoderOptions)
}

func consoleWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &ConsoleConfig{}
	return cfg, readModule(d, &encoderWords, &cfg.EncoderOptions)
}

// encoderWords are the lines that json and console have in common.
var encoderWords = caddyfile.Options[EncoderOptions]{Lines: []caddyfile.Option[EncoderOptions]{
	keyWord("message_key", func(o *EncoderOptions) **string { return &o.MessageKey }),
	keyWord("level_key", func(o *EncoderOptions) **string { return &o.LevelKey }),
	keyWord("time_key", func(o *EncoderOptions) **string { return &o.TimeKey }),
	keyWord("name_key", func(o *EncoderOptions) **string { return &o.NameKey }),
	keyWord("caller_key", func(o *EncoderOptions) **string { return &o.CallerKey }),
	keyWord("stacktrace_key", func(o *EncoderOptions) **string { return &o.StacktraceKey }),
	{Name: "line_ending", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(o *EncoderOptions) *string { return &o.LineEnding })},
	{Name: "time_format", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(o *EncoderOptions) *string { return &o.TimeFormat })},
	{Name: "time_local", Set: caddyfile.Flag(func(o *EncoderOptions) *bool { return &o.TimeLocal })},
	{Name: "duration_format", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(o *EncoderOptions) *string { return &o.DurationFormat })},
	{Name: "level_format", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(o *EncoderOptions) *string { return &o.LevelFormat })},
}}

// keyWord is a line whose value is kept even if it is empty.
func keyWord(name string, field func(o *EncoderOptions) **string) caddyfile.Option[EncoderOptions] {
	return caddyfile.Option[EncoderOptions]{Name: name, Args: caddyfile.Exactly(1),
		Set: func(o *EncoderOptions, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
			text := args[0].Text
			*field(o) = &text
			return nil
		}}
}

// Where is the place of a log in a Caddyfile, which decides about some lines.
type Where byte

const (
	// Site is the log directive of a site.
	Site Where = iota
	// Global is the global option log.
	Global
)

// Written is a log as a Caddyfile writes it.
type Written struct {
	// Name is the argument, empty if there is none.
	Name string
	// Hostnames are the hosts that the log is for, none for those of the site.
	// Only a site has them.
	Hostnames []string
	// NoHostname says that the log is for no host until a request asks for it.
	// Only a site has it.
	NoHostname bool
	// Log is the LogConfig that the block describes: writer, encoder, core, level,
	// sampling, include and exclude, as far as given. It is nil if nothing is.
	Log *config.Node
}

// ReadWords reads a log, d's current token being the word itself.
func ReadWords(u *module.Use, d *caddyfile.Dispenser, where Where) (*Written, error) {
	start := d.Token()
	w := &writing{use: u, members: map[string]*config.Node{}}
	if d.NextArg() {
		w.Name = d.Val()
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	options := &siteWords
	if where == Global {
		options = &globalWords
	}
	if err := options.Parse(d, w); err != nil {
		return nil, err
	}
	for key, names := range map[string][]string{"include": w.include, "exclude": w.exclude} {
		if len(names) > 0 {
			w.members[key] = listNode(names)
		}
	}
	if len(w.members) > 0 {
		w.Log = config.NewObject(w.members)
		u.Placed(w.Log, start)
	}
	return &w.Written, nil
}

func listNode(list []string) *config.Node {
	nodes := make([]*config.Node, len(list))
	for i, s := range list {
		nodes[i] = config.NewString(s)
	}
	return config.NewArray(nodes)
}

// writing is a log while its block is read.
type writing struct {
	Written
	use              *module.Use
	members          map[string]*config.Node
	include, exclude []string
}

type logWord = caddyfile.Option[writing]

var siteWords = caddyfile.Options[writing]{Lines: append(commonWords(),
	logWord{Name: "hostnames", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(w *writing) *[]string { return &w.Hostnames })},
	logWord{Name: "no_hostname", Once: twice("no_hostname"), Set: caddyfile.Flag(func(w *writing) *bool { return &w.NoHostname })},
	misplaced("include", "include is not allowed in the log directive"),
	misplaced("exclude", "exclude is not allowed in the log directive"),
)}

var globalWords = caddyfile.Options[writing]{Lines: append(commonWords(),
	logWord{Name: "include", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(w *writing) *[]string { return &w.include })},
	logWord{Name: "exclude", Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(w *writing) *[]string { return &w.exclude })},
	misplaced("hostnames", "hostnames is not allowed in the log global options"),
	misplaced("no_hostname", "no_hostname is not allowed in the log global options"),
)}

func commonWords() []logWord {
	return []logWord{
		{Name: "output", Args: caddyfile.AtLeast(1), Block: true, Once: twice("output"), Set: moduleWord("writer", writers, "output")},
		{Name: "format", Args: caddyfile.AtLeast(1), Block: true, Once: twice("format"), Set: moduleWord("encoder", encoders, "format")},
		{Name: "core", Args: caddyfile.AtLeast(1), Block: true, Once: twice("core"), Set: moduleWord("core", cores, "module")},
		{Name: "level", Args: caddyfile.Exactly(1), Once: twice("level"), Set: readLevel},
		{Name: "sampling", Block: true, Once: twice("sampling"), Set: readSampling},
	}
}

func twice(name string) string {
	return fmt.Sprintf("'%s' subdirective specified more than once in the same log block", name)
}

// misplaced is a line that is known only to be refused.
func misplaced(name, sentence string) logWord {
	return logWord{Name: name, Args: caddyfile.AtLeast(0), Block: true,
		Set: func(_ *writing, d *caddyfile.Dispenser, _ []caddyfile.Token) error { return d.Errf("%s", sentence) }}
}

// moduleWord returns a Set for a line that is a module with its settings.
func moduleWord(member, namespace, inline string) func(*writing, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(w *writing, d *caddyfile.Dispenser, args []caddyfile.Token) error {
		for range args[1:] {
			d.Prev()
		}
		n, err := w.use.Module(d, namespace, inline)
		if err != nil {
			return err
		}
		w.members[member] = n
		return nil
	}
}

func readLevel(w *writing, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	if args[0].Text != "" {
		w.members["level"] = config.NewString(args[0].Text)
	}
	return nil
}

var samplingWords = caddyfile.Options[SamplingConfig]{Lines: []caddyfile.Option[SamplingConfig]{
	{Name: "interval", Args: caddyfile.Exactly(1), Set: caddyfile.Duration(func(c *SamplingConfig) *module.Duration { return &c.Interval })},
	{Name: "first", Args: caddyfile.Exactly(1), Set: caddyfile.Int(func(c *SamplingConfig) *int { return &c.First })},
	{Name: "thereafter", Args: caddyfile.Exactly(1), Set: caddyfile.Int(func(c *SamplingConfig) *int { return &c.Thereafter })},
}}

func readSampling(w *writing, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
	var c SamplingConfig
	if err := samplingWords.Parse(d, &c); err != nil {
		return err
	}
	n, err := w.use.Table().Encode("", &c)
	if err != nil {
		return err
	}
	w.members["sampling"] = n
	return nil
}
