package automation

import (
	"context"
	"errors"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// listener is a log of certmagic that overhears what goes wrong. certmagic tells of failures by an event only where an issuer
// has refused; that a storage is full, say, is only logged.
type listener struct {
	zapcore.Core
	m *Manager
}

// overhear is a logger for certmagic.
func (m *Manager) overhear(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return &listener{c, m} }))
}

// isFailure knows the messages of attempts that have failed. Their error begins with the name, in brackets.
func isFailure(message string) bool { return message == "job failed" || message == "will retry" }

// Enabled implements [zapcore.LevelEnabler].
func (l *listener) Enabled(level zapcore.Level) bool {
	return level >= zapcore.ErrorLevel || l.Core.Enabled(level)
}

// With implements [zapcore.Core].
func (l *listener) With(fields []zapcore.Field) zapcore.Core {
	return &listener{l.Core.With(fields), l.m}
}

// Check implements [zapcore.Core].
func (l *listener) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	to = l.Core.Check(e, to)
	if e.Level >= zapcore.ErrorLevel && isFailure(e.Message) {
		to = to.AddCore(e, l)
	}
	return to
}

// Write implements [zapcore.Core]. What is to be logged has been handed on in Check.
func (l *listener) Write(_ zapcore.Entry, fields []zapcore.Field) error {
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType && !errors.Is(err, context.Canceled) {
			if name, why, ok := named(err.Error()); ok {
				l.m.overheard(name, why)
			}
		}
	}
	return nil
}

// named takes an error apart that begins with one name, or with a name more than once.
func named(text string) (name, why string, ok bool) {
	for {
		inner, found := strings.CutPrefix(text, "[")
		if !found {
			return name, text, name != ""
		}
		first, rest, found := strings.Cut(inner, "] ")
		if !found || strings.Contains(first, " ") {
			return name, text, name != ""
		}
		name, text = first, rest
	}
}

// overheard notes a failure, unless it is known already.
func (m *Manager) overheard(name, why string) {
	m.tableMu.RLock()
	n := m.table.managed[name]
	known := n != nil && n.fault.text != "" && strings.HasSuffix(why, n.fault.text) && n.fault.recent()
	operation := "obtain"
	if n != nil && n.ready {
		operation = "renew"
	}
	m.tableMu.RUnlock()
	if n == nil || known || m.ctx.Err() != nil {
		return
	}
	m.count(operation)
	m.note(name, errors.New(why))
}
