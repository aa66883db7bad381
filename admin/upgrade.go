package admin

import (
	"context"
	"net/http"
	"time"
)

// Upgrade is what POST /upgrade asks for.
type Upgrade struct {
	// Drain is how long the process may take for what it has begun, 0 for as long as
	// that takes; negative is what the process does by itself.
	Drain time.Duration
	// Timeout is how long the new process may take until it serves; 0 is what the
	// process does by itself.
	Timeout time.Duration
	// DryRun ends the new process as soon as it has shown that it can take over.
	DryRun bool
}

// Upgraded is the answer to POST /upgrade.
type Upgraded struct {
	// Program is the file that was started.
	Program string `json:"program"`
	// Version is that of the new process.
	Version string `json:"version"`
	// OldPID is the process that has handed over, NewPID the one that serves.
	OldPID int `json:"old_pid"`
	NewPID int `json:"new_pid"`
	// Paused is for how many milliseconds no change of the document was possible.
	Paused float64 `json:"paused_ms"`
}

func (a *API) upgradeRoute() route {
	result := object(map[string]any{"program": kind("string"), "version": kind("string"), "old_pid": kind("integer"), "new_pid": kind("integer"), "paused_ms": kind("number")})
	responses := answer("The new process serves, and the one that answers ends when its last connection has.", "application/json", result, 400, 404, 409, 500)
	for i := range responses {
		switch responses[i].Status {
		case 404:
			responses[i].Description = "This process cannot be replaced by another one; the error says why."
		case 409:
			responses[i].Description = "A new process is being started already, has taken over, or this one stops."
		case 500:
			responses[i].Description = "The new process did not start, did not accept the document, or was not ready in time; the error says why. The old one serves as before."
		}
	}
	wait := kind("string")
	return route{RouteDoc{Method: "POST", Pattern: "/upgrade", Summary: "Replace the process by a new one without closing a connection",
		Description: "Starts the program again, from the file that this process was started from, which may be another version now. The new process gets the listening sockets and the document. Changes that come while it starts get status 503. Linux only.",
		Params: []ParamDoc{
			{Name: "drain", In: "query", Schema: wait, Description: "How long the old process may take for requests and streams that it has begun, such as `1h`; `0` is as long as they take. Default: `SLUICE_UPGRADE_DRAIN`, else the grace period of the document, else `0`."},
			{Name: "timeout", In: "query", Schema: wait, Description: "How long the new process may take until it is ready. Default: `60s`."},
			{Name: "dry_run", In: "query", Schema: kind("boolean"), Description: "Start the program, see whether it can take over, and end it again."}},
		Responses: responses}, a.upgrade}
}

// upgrade is POST /upgrade.
func (a *API) upgrade(c *call) error {
	dry, err := dryRun(c.r.URL.RawQuery)
	if err != nil {
		return err
	}
	if a.deps.Upgrade == nil {
		return failf(http.StatusNotFound, "this process cannot be replaced through the API")
	}
	u := Upgrade{Drain: -1, DryRun: dry}
	q := c.r.URL.Query()
	for name, to := range map[string]*time.Duration{"drain": &u.Drain, "timeout": &u.Timeout} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		if *to, err = parseWait(text); err != nil {
			return failf(http.StatusBadRequest, "%s is %q; want how long to wait, such as 30s or 5m", name, text)
		}
	}
	// Who does not wait for the answer wants the upgrade all the same.
	done, err := a.deps.Upgrade(context.WithoutCancel(c.r.Context()), u)
	if err != nil {
		return err
	}
	if dry {
		c.Header().Set("Sluice-Dry-Run", "true")
	} else {
		c.Header().Set("Connection", "close")
	}
	c.answerJSON(done)
	return nil
}
