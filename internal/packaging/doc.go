// Package packaging is what sluice is given to operators as: a container image, units of systemd, a Debian package,
// completions and manual pages. The package itself has nothing but the tests of these files: they build what is
// built of them, install it into an empty root, and run it there by the words of the files.
package packaging
