package automation

import (
	"context"
	"errors"
	"time"
)

// retries is when certmagic tries again: the time after the first failure, the second, and so on.
var retries = [...]time.Duration{
	time.Minute, 2 * time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 10 * time.Minute, 10 * time.Minute,
	20 * time.Minute, 20 * time.Minute, 20 * time.Minute, 20 * time.Minute,
	30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute,
	time.Hour, time.Hour, time.Hour, 2 * time.Hour, 2 * time.Hour, 3 * time.Hour, 3 * time.Hour, 6 * time.Hour,
}

// add notes another failure.
func (f *fault) add(err error) {
	now := time.Now()
	f.text, f.at = err.Error(), now
	f.next = now.Add(retries[min(f.attempts, len(retries)-1)])
	f.attempts++
}

// recent reports whether the failure was noted just now.
func (f *fault) recent() bool { return time.Since(f.at) < time.Second }

// table is what is known of names. The Manager's tableMu guards it.
type table struct {
	managed map[string]*managed
	// others is names for which clients had certificates obtained, or tried.
	others map[string]*other
}

// other is a name that is not managed.
type other struct {
	fault fault
	view  view
}

// maxOthers bounds what strangers can make the table remember.
const maxOthers = 10_000

func (t *table) init() { t.managed, t.others = map[string]*managed{}, map[string]*other{} }

// faultOf is where faults of a name are noted.
func (t *table) faultOf(name string) *fault {
	if n := t.managed[name]; n != nil {
		return &n.fault
	}
	o := t.others[name]
	if o == nil {
		if len(t.others) >= maxOthers {
			for victim := range t.others {
				delete(t.others, victim)
				break
			}
		}
		o = &other{}
		t.others[name] = o
	}
	return &o.fault
}

// wanted reports whether an event has to be told; certmagic asks only about those of each handshake.
func (m *Manager) wanted(event string) bool {
	return event != "tls_get_certificate" || m.events != nil && m.events.Wanted(AppID, event)
}

// onEvent is what certmagic tells. What it says of names is kept, and passed on.
func (m *Manager) onEvent(ctx context.Context, event string, data map[string]any) error {
	switch event {
	case "cached_managed_cert":
		if names, _ := data["sans"].([]string); len(names) > 0 {
			m.forget(names[0], false)
		}
	case "cert_obtained":
		if name, _ := data["identifier"].(string); name != "" {
			m.forget(name, true)
		}
	case "cert_failed":
		name, _ := data["identifier"].(string)
		err, _ := data["error"].(error)
		if name != "" && err != nil && !errors.Is(err, context.Canceled) {
			operation := "obtain"
			if renewal, _ := data["renewal"].(bool); renewal {
				operation = "renew"
			}
			m.count(operation)
			m.note(name, err)
		}
	case "cert_ocsp_revoked":
		m.count("revoked")
		if names, _ := data["subjects"].([]string); len(names) > 0 {
			m.note(names[0], errRevoked)
		}
	}
	if m.events == nil {
		return nil
	}
	err := m.events.Emit(ctx, AppID, event, data)
	if name, _ := data["identifier"].(string); err != nil && event == "cert_obtaining" && name != "" {
		m.count("obtain")
		m.note(name, err)
	}
	return err
}

var errRevoked = errors.New("the certificate has been revoked; another is asked for")

// forget has the cache asked anew for what it has of a name, and forgets what went wrong if that is over.
func (m *Manager) forget(name string, over bool) {
	m.tableMu.Lock()
	defer m.tableMu.Unlock()
	f := m.table.faultOf(name)
	v := m.table.viewOf(name)
	v.forget()
	if over { // the new certificate comes into the cache after this
		*f, v.unsure = fault{}, time.Now().Add(viewUnsure)
	}
}

// note notes a failure, after which others may have their first attempt.
func (m *Manager) note(name string, err error) {
	m.tableMu.Lock()
	var slot func()
	if n := m.table.managed[name]; n != nil {
		slot, n.slot = n.slot, nil
		n.settle()
	}
	m.table.faultOf(name).add(err)
	m.tableMu.Unlock()
	if slot != nil {
		slot()
	}
}

// count counts a failure.
func (m *Manager) count(operation string) {
	if m.failures != nil {
		m.failures.With(operation).Inc()
	}
}
