package logs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/logs/logfile"
	"github.com/sluiceproxy/sluice/server/logs/lognet"
)

// FileConfig is the config of the file writer.
type FileConfig struct {
	// Filename is the name of the file; a relative one starts from the working
	// directory. Placeholders such as {env.X} are replaced at load and must have a
	// value. Directories that are missing are made. The file stays open for as
	// long as a configuration names it; if it is renamed or removed meanwhile, a
	// new one is made for the entries from the next second on.
	Filename string `json:"filename" check:"required"`
	// Mode is the permissions of the file, one to four octal digits as text, which
	// it gets whatever the umask. Default: those that it has, or 0600 for a new
	// one.
	Mode string `json:"mode"`
	// DirMode is the permissions of directories that are made: octal digits as
	// text, inherit for those of the directory above, or from_file for those of
	// the file with the right to enter where there is the right to read. Default:
	// 0700.
	DirMode string `json:"dir_mode"`
	// Roll moves the file away when it is large, or old, and begins a new one. The
	// old one is named after the time and the reason, as in
	// access-2026-08-01T12-00-00.000-size.log. Default: true.
	Roll bool `json:"roll"`
	// RollSizeMB is how large the file may be, in MiB. Default: 100.
	RollSizeMB int `json:"roll_size_mb" check:"min=0,max=1073741824"`
	// RollInterval is the longest time from one rolling over to the next. Default:
	// none.
	RollInterval module.Duration `json:"roll_interval" check:"min=0"`
	// RollMinutes are minutes of each hour, 0 to 59, at which the file is rolled
	// over. Default: none.
	RollMinutes []int `json:"roll_minutes"`
	// RollAt are times of each day at which the file is rolled over, as HH:MM.
	// Default: none.
	RollAt []string `json:"roll_at"`
	// RollCompression is how rolled files are compressed: gzip, zstd or none.
	// Default: gzip.
	RollCompression string `json:"roll_compression" check:"enum=|gzip|zstd|none"`
	// RollGzip is the older form of roll_compression, which overrules it; false
	// means none. Default: true.
	RollGzip bool `json:"roll_gzip"`
	// RollLocalTime takes the local time, for the names of rolled files and for
	// roll_minutes and roll_at. Default: false, which means UTC.
	RollLocalTime bool `json:"roll_local_time"`
	// RollKeep is how many rolled files are kept. Default: 10.
	RollKeep int `json:"roll_keep" check:"min=0"`
	// RollKeepDays is for how many days rolled files are kept. Default: 90.
	RollKeepDays int `json:"roll_keep_days" check:"min=0"`
	// BackupTimeFormat is the layout, as Go's time package has it, of the time in
	// the names of rolled files. Default: 2006-01-02T15-04-05.000.
	BackupTimeFormat string `json:"backup_time_format"`
}

// NetConfig is the config of the net writer.
type NetConfig struct {
	// Address is the network address of a log server, with one port, such as
	// tcp/logs.example.com:514, udp/10.0.0.1:514 or unix//run/log.sock. Placeholders
	// such as {env.X} are replaced at load and must have a value. Over a network of
	// packets each entry is one.
	Address string `json:"address" check:"required"`
	// DialTimeout is how long connecting may take. Default: 0, as long as the
	// system tries.
	DialTimeout module.Duration `json:"dial_timeout" check:"min=0"`
	// SoftStart accepts that the log server cannot be reached when the
	// configuration is loaded. Entries go to standard error until it can be.
	SoftStart bool `json:"soft_start"`
}

func fileSpec() module.Spec {
	return module.New(writers+".file", "Writes a log to a file, and rolls it over.", &FileConfig{Roll: true, RollGzip: true}, compileFile,
		module.Words(fileWords), module.Examples(
			module.Example{Title: "At most 1 GB of logs, zstd for the old ones", JSON: `{"output": "file", "filename": "/var/log/sluice/access.log", "roll_size_mb": 100, "roll_keep": 10, "roll_compression": "zstd"}`},
			module.Example{Title: "A file for each day, readable by a group", JSON: `{"output": "file", "filename": "/var/log/sluice/access.log", "mode": "0640", "dir_mode": "0750", "roll_at": ["00:00"], "roll_local_time": true, "roll_keep_days": 30}`},
			module.Example{Title: "Rolled over by someone else", JSON: `{"output": "file", "filename": "/var/log/sluice/access.log", "roll": false}`}))
}

func netSpec() module.Spec {
	return module.New(writers+".net", "Sends a log to a log server.", nil, compileNet,
		module.Words(netWords), module.Examples(
			module.Example{Title: "A syslog server that may be late", JSON: `{"output": "net", "address": "tcp/127.0.0.1:514", "dial_timeout": "3s", "soft_start": true}`}))
}

func compileFile(env *module.Env, c *FileConfig) (*Writer, error) {
	s, ps := c.settings(env)
	if len(ps) > 0 {
		return nil, ps
	}
	mode := "as it is"
	if s.Mode != nil {
		mode = s.Mode.String()
	}
	text := s
	text.Mode = nil
	return &Writer{
		Key: s.Path, Settings: fmt.Sprintf("%+v, mode %s", text, mode),
		Open: func(o Opening) (io.WriteCloser, error) {
			f, err := logfile.Open(s, o.Report, o.After)
			if err != nil { // not a nil *File in an interface
				return nil, err
			}
			return f, nil
		},
		Start: func(opened io.WriteCloser) { opened.(*logfile.File).Start(s) },
	}, nil
}

// settings translates the config.
func (c *FileConfig) settings(env *module.Env) (logfile.Settings, schema.Problems) {
	s := logfile.Settings{
		Roll: c.Roll, Size: int64(orInt(c.RollSizeMB, 100)) << 20, Interval: time.Duration(c.RollInterval), Local: c.RollLocalTime,
		Compression: or(c.RollCompression, "gzip"), Keep: orInt(c.RollKeep, 10), KeepDays: orInt(c.RollKeepDays, 90),
		TimeFormat: or(c.BackupTimeFormat, "2006-01-02T15-04-05.000"),
	}
	if c.RollCompression == "" && !c.RollGzip {
		s.Compression = "none"
	}
	var ps schema.Problems
	problem := func(field, found, message, expected string) {
		ps = append(ps, schema.Problem{Pointer: "/" + field, Message: message, Found: found, Expected: expected})
	}
	name, err := env.ExpandStrict(c.Filename)
	if err == nil && name == "" {
		err = errors.New("it is empty")
	}
	if err == nil {
		s.Path, err = filepath.Abs(name)
	}
	if err != nil {
		problem("filename", c.Filename, "the name of the log file: "+err.Error(), "a file name")
	}
	if c.Mode != "" {
		mode, err := logfile.ParseMode(c.Mode)
		if err != nil {
			problem("mode", c.Mode, err.Error(), `octal digits such as "0644"`)
		}
		s.Mode = &mode
	}
	if s.Dir, err = logfile.ParseDirMode(c.DirMode); err != nil {
		problem("dir_mode", c.DirMode, err.Error(), `inherit, from_file, or octal digits such as "0755"`)
	}
	if c.RollInterval < 0 {
		problem("roll_interval", c.RollInterval.String(), "the time between two rollings over cannot be negative", `a duration such as "24h"`)
	}
	for i, m := range c.RollMinutes {
		if m < 0 || m > 59 {
			problem("roll_minutes/"+strconv.Itoa(i), strconv.Itoa(m), fmt.Sprintf("an hour has no minute %d", m), "0 to 59")
			continue
		}
		for h := range 24 {
			s.Marks = append(s.Marks, logfile.Mark{Hour: h, Minute: m})
		}
	}
	for i, text := range c.RollAt {
		t, err := time.Parse("15:04", text)
		if err != nil {
			problem("roll_at/"+strconv.Itoa(i), text, fmt.Sprintf("%q is not a time of the day", text), `hours and minutes such as "23:30"`)
			continue
		}
		s.Marks = append(s.Marks, logfile.Mark{Hour: t.Hour(), Minute: t.Minute()})
	}
	slices.SortFunc(s.Marks, func(a, b logfile.Mark) int { return (a.Hour-b.Hour)*60 + a.Minute - b.Minute })
	s.Marks = slices.Compact(s.Marks)
	if err := logfile.CheckTimeFormat(s.TimeFormat); err != nil {
		problem("backup_time_format", c.BackupTimeFormat, err.Error(), "a layout such as 2006-01-02T15-04-05.000")
	}
	return s, ps
}

func orInt(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

func compileNet(env *module.Env, c *NetConfig) (*Writer, error) {
	text, err := env.ExpandStrict(c.Address)
	var addr netaddr.Addr
	if err == nil {
		addr, err = netaddr.Parse(text)
	}
	message := ""
	switch {
	case err != nil:
		message = err.Error()
	case addr.Count() > 1:
		message = "multiple ports not supported"
	case addr.IsFD():
		message = "a log server is not reached over an inherited descriptor"
	case addr.StartPort == 0 && !addr.IsUnix():
		message = "the address of a log server needs a port"
	case c.DialTimeout < 0:
		return nil, module.Problem("/dial_timeout", "the timeout cannot be negative")
	}
	if message != "" {
		return nil, schema.Problems{{Pointer: "/address", Message: message, Found: c.Address, Expected: "an address with one port, such as tcp/10.0.0.1:514"}}
	}
	s := lognet.Settings{Network: addr.Network, Address: addr.JoinHostPort(0), Packets: addr.IsDatagram(), Timeout: time.Duration(c.DialTimeout), Soft: c.SoftStart}
	addr.Mode = 0
	return &Writer{
		Key: addr.String(), Settings: s.Timeout.String(), Impatient: true,
		Open: func(o Opening) (io.WriteCloser, error) {
			conn, err := lognet.Open(s, o.Stderr, o.Report)
			if err != nil { // not a nil *Conn in an interface
				return nil, err
			}
			return conn, nil
		},
		Start: func(opened io.WriteCloser) { opened.(*lognet.Conn).SetTimeout(s.Timeout) },
	}, nil
}
