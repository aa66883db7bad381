package environment

import (
	"fmt"
	"os"
	"strings"
)

// variable is one assignment of a file with environment variables.
type variable struct{ key, value string }

// Load sets the variables of the files, in order. What is already in the
// environment stays.
func Load(files []string) error {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("loading additional environment variables: %w", err)
		}
		list, err := parseEnv(string(text))
		if err != nil {
			return fmt.Errorf("loading additional environment variables: %s: %w", file, err)
		}
		for _, v := range list {
			if _, set := os.LookupEnv(v.key); set {
				continue
			}
			if err := os.Setenv(v.key, v.value); err != nil {
				return fmt.Errorf("setting environment variable %s from %s: %w", v.key, file, err)
			}
		}
	}
	return nil
}

// parseEnv reads KEY=VALUE lines (cli, section 6).
func parseEnv(text string) ([]variable, error) {
	var list []variable
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for i := 0; i < len(lines); i++ {
		number := i + 1
		line := strings.TrimSpace(lines[i])
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("can't parse line %d; line should be in KEY=VALUE format", number)
		}
		key = strings.TrimPrefix(key, "export ")
		switch {
		case key == "":
			return nil, fmt.Errorf("missing or empty key on line %d", number)
		case strings.ContainsAny(key, " \t"):
			return nil, fmt.Errorf("invalid key on line %d: contains whitespace: %s", number, key)
		case strings.HasPrefix(value, " ") || strings.HasPrefix(value, "\t"):
			return nil, fmt.Errorf("invalid value on line %d: whitespace before value: %s", number, key)
		}
		last := endsQuoted(value, value)
		if before, _, comment := strings.Cut(value, "#"); comment {
			value = strings.TrimRight(before, " \t")
		}
		if value != "" && (value[0] == '"' || value[0] == '\'') {
			value, i = unquote(value, lines, i, last)
		}
		list = append(list, variable{key, value})
	}
	return list, nil
}

// endsQuoted reports whether a line ends the quote that value begins with.
func endsQuoted(value, line string) bool {
	if value == "" {
		return false
	}
	quote := value[:1]
	return strings.HasSuffix(line, quote) && !strings.HasSuffix(line, `\`+quote)
}

// unquote takes the lines after lines[i] into a quoted value until one ends the
// quote, and returns the index of that line.
func unquote(value string, lines []string, i int, ended bool) (string, int) {
	quote := value[:1]
	if value == quote {
		ended = false // the opening quote is not the closing one
	}
	for !ended && i+1 < len(lines) {
		i++
		line := strings.TrimSuffix(lines[i], "\r")
		if i == len(lines)-1 && line == "" {
			break // the newline at the end of the file
		}
		value += "\n" + line
		ended = endsQuoted(quote, line)
	}
	value = strings.TrimPrefix(value, quote)
	if ended {
		value = strings.TrimSuffix(value, quote)
	}
	return strings.ReplaceAll(value, `\`+quote, quote), i
}
