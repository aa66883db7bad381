// Package vars implements placeholder templates: strings in which {name}
// stands for a value that is only known when a request, or a load, is at hand.
//
// A [Text] is parsed once, when a config is loaded, and expanded as often as
// needed against a [Scope], which knows the names. Values that are inserted
// are never scanned again. The syntax and the rules are those of section 8 of
// the config reference:
//
//   - {name} is a placeholder; the name is everything up to the first } that
//     has no backslash directly before it, other { included;
//   - \{ and \} are literal braces, a backslash elsewhere is itself;
//   - a { without a later } is itself.
//
// The package also holds the two other small readers that all configs share:
// [ParseDuration], and [ToString] for the text form of a value.
package vars
