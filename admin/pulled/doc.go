// Package pulled puts configurations into force that a document gets from
// elsewhere: what `admin.config.load` and `admin.config.load_delay` ask for.
//
// With a delay a Puller runs a loop beside the document: wait, pull, apply. The
// loop belongs to the settings, not to the document. An edit elsewhere does not
// disturb it; a document with other settings, or with none, ends it.
//
// Without a delay the pull is a part of the load: Puller.Apply, by which all
// changes go, does it before the change is handed to the engine, while nothing
// waits but who asked for the load.
package pulled
