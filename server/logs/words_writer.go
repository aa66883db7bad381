package logs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/server/logs/logfile"
)

func fileWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &FileConfig{Roll: true, RollGzip: true}
	args, err := arguments(d, caddyfile.Exactly(1), &fileLines, cfg)
	if err == nil {
		cfg.Filename = args[0].Text
	}
	return cfg, err
}

var fileLines = caddyfile.Options[FileConfig]{Lines: []caddyfile.Option[FileConfig]{
	{Name: "mode", Args: caddyfile.Exactly(1), Set: caddyfile.Parsed("", writtenMode, func(c *FileConfig) *string { return &c.Mode })},
	{Name: "dir_mode", Args: caddyfile.Exactly(1), Set: caddyfile.Parsed("", writtenDirMode, func(c *FileConfig) *string { return &c.DirMode })},
	{Name: "roll_disabled", Set: unset(func(c *FileConfig) *bool { return &c.Roll })},
	{Name: "roll_size", Args: caddyfile.Exactly(1), Set: caddyfile.Parsed("invalid size '%s': %w", mebibytes, func(c *FileConfig) *int { return &c.RollSizeMB })},
	{Name: "roll_uncompressed", Set: unset(func(c *FileConfig) *bool { return &c.RollGzip })},
	{Name: "roll_compression", Args: caddyfile.Exactly(1), Set: caddyfile.Parsed("", compression, func(c *FileConfig) *string { return &c.RollCompression })},
	{Name: "roll_local_time", Set: caddyfile.Flag(func(c *FileConfig) *bool { return &c.RollLocalTime })},
	{Name: "roll_keep", Args: caddyfile.Exactly(1), Set: caddyfile.Int(func(c *FileConfig) *int { return &c.RollKeep })},
	{Name: "roll_keep_for", Args: caddyfile.Exactly(1), Set: caddyfile.Parsed("bad duration value '%s': %w", days, func(c *FileConfig) *int { return &c.RollKeepDays })},
	{Name: "roll_interval", Args: caddyfile.Exactly(1), Set: caddyfile.Duration(func(c *FileConfig) *module.Duration { return &c.RollInterval })},
	{Name: "roll_minutes", Args: caddyfile.AtLeast(1), Set: readMinutes},
	{Name: "roll_at", Args: caddyfile.AtLeast(1), Set: readTimes},
	{Name: "backup_time_format", Args: caddyfile.Exactly(1), Set: caddyfile.String(func(c *FileConfig) *string { return &c.BackupTimeFormat })},
}}

// unset returns a Set that makes a field false.
func unset(field func(c *FileConfig) *bool) func(*FileConfig, *caddyfile.Dispenser, []caddyfile.Token) error {
	return func(c *FileConfig, _ *caddyfile.Dispenser, _ []caddyfile.Token) error {
		*field(c) = false
		return nil
	}
}

// writtenMode is a mode in its four digits.
func writtenMode(text string) (string, error) {
	if _, err := logfile.ParseMode(text); err != nil {
		return "", err
	}
	return strings.Repeat("0", 4-len(text)) + text, nil
}

func writtenDirMode(text string) (string, error) {
	_, err := logfile.ParseDirMode(text)
	return text, err
}

func mebibytes(text string) (int, error) {
	n, err := caddyfile.ParseSize(text)
	if err != nil {
		return 0, err
	}
	mb := n>>20 + min(n&(1<<20-1), 1)
	if mb > math.MaxInt32 {
		return 0, fmt.Errorf("too large")
	}
	return int(mb), nil
}

func compression(text string) (string, error) {
	switch text {
	case "gzip", "zstd", "none":
		return text, nil
	}
	return "", fmt.Errorf("unrecognized compression '%s'; gzip, zstd and none are known", caddyfile.Shorten(text))
}

func days(text string) (int, error) {
	d, err := caddyfile.ParseDuration(text)
	switch {
	case err != nil:
		return 0, err
	case d < 0:
		return 0, fmt.Errorf("a negative time cannot be kept")
	}
	const day = 24 * time.Hour
	return int(d/day + min(d%day, 1)), nil
}

// listed splits arguments that may have commas as well.
func listed(args []caddyfile.Token, each func(item string) error) error {
	for _, a := range args {
		for item := range strings.SplitSeq(a.Text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			if err := each(item); err != nil {
				return a.Wrap(err)
			}
		}
	}
	return nil
}

func readMinutes(c *FileConfig, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	return listed(args, func(item string) error {
		n, err := strconv.Atoi(item)
		if err != nil || n < 0 || n > 59 {
			return fmt.Errorf("invalid minute '%s'; 0 to 59 are right", caddyfile.Shorten(item))
		}
		c.RollMinutes = append(c.RollMinutes, n)
		return nil
	})
}

func readTimes(c *FileConfig, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
	return listed(args, func(item string) error {
		if _, err := time.Parse("15:04", item); err != nil {
			return fmt.Errorf("invalid time '%s'; hours and minutes such as 23:30 are right", caddyfile.Shorten(item))
		}
		c.RollAt = append(c.RollAt, item)
		return nil
	})
}

func netWords(_ *module.Use, d *caddyfile.Dispenser) (any, error) {
	cfg := &NetConfig{}
	args, err := arguments(d, caddyfile.Exactly(1), &netLines, cfg)
	if err == nil {
		cfg.Address = args[0].Text
	}
	return cfg, err
}

var netLines = caddyfile.Options[NetConfig]{Lines: []caddyfile.Option[NetConfig]{
	{Name: "dial_timeout", Args: caddyfile.Exactly(1), Set: caddyfile.Duration(func(c *NetConfig) *module.Duration { return &c.DialTimeout })},
	{Name: "soft_start", Set: caddyfile.Flag(func(c *NetConfig) *bool { return &c.SoftStart })},
}}
