package fileserver

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/sluiceproxy/sluice/handlers/templates/engine"
)

// Listing is a directory as templates see it.
type Listing struct {
	// Context is what every template sees of the request; nil for the page of our
	// own.
	*engine.Context
	// Name is the last element of the path.
	Name string
	// Path is the path of the request, escaped and without a slash at its end.
	Path string
	// CanGoUp says that there is a directory above.
	CanGoUp bool
	// Items are what is listed.
	Items []Item
	// NumDirs and NumFiles count what is in the directory, as far as it was read.
	NumDirs, NumFiles int
	// TotalFileSize is the bytes of the files. Symbolic links count as themselves.
	TotalFileSize int64
	// TotalFileSizeFollowingSymlinks is the same with links counted as what they
	// lead to.
	TotalFileSizeFollowingSymlinks int64
	// Offset is how many items were left out at the begin, and Limit how many are
	// left at most; 0 for none.
	Offset, Limit int
	// Sort and Order say how the items are sorted.
	Sort, Order string
	// Layout is list, grid or empty.
	Layout string
}

// Item is a file or directory in a Listing.
type Item struct {
	// Name is its name, with a slash at the end for a directory.
	Name string `json:"name"`
	// Size is its bytes; for a symbolic link those of what it leads to.
	Size int64 `json:"size"`
	// URL leads there from the listing.
	URL string `json:"url"`
	// ModTime is when it was changed, in UTC.
	ModTime time.Time `json:"mod_time"`
	// Mode is its kind and permissions.
	Mode fs.FileMode `json:"mode"`
	// IsDir is true for directories, and for links to such.
	IsDir bool `json:"is_dir"`
	// IsSymlink is true for symbolic links.
	IsSymlink bool `json:"is_symlink"`
	// SymlinkPath is what a symbolic link says, if that is to be shown.
	SymlinkPath string `json:"symlink_path,omitempty"`
	// Tpl is the listing that the item is in.
	Tpl *Listing `json:"-"`

	ownSize int64 // of a link itself
}

// Crumb is a directory on the way to the listed one.
type Crumb struct {
	// Link leads there from the listing.
	Link string
	// Text is its name.
	Text string
}

func (l *Listing) add(it Item) {
	if it.IsDir {
		l.NumDirs++
	} else {
		l.NumFiles++
		l.TotalFileSize += it.ownSize
		l.TotalFileSizeFollowingSymlinks += it.Size
	}
	l.Items = append(l.Items, it)
}

// Breadcrumbs lists the directories on the way, from the root to this one.
func (l *Listing) Breadcrumbs() []Crumb {
	p := strings.TrimRight(l.Path, "/")
	parts := strings.Split(p, "/")
	out := make([]Crumb, len(parts))
	for i, part := range parts {
		text, err := url.PathUnescape(part)
		if err != nil {
			text = part
		}
		if i == 0 && part == "" {
			text = "/"
		}
		out[i] = Crumb{Link: strings.Repeat("../", len(parts)-i-1), Text: text}
	}
	return out
}

// HumanTotalFileSize is TotalFileSize in a unit such as "4.0 KiB".
func (l *Listing) HumanTotalFileSize() string { return humanize.IBytes(unsigned(l.TotalFileSize)) }

// HumanTotalFileSizeFollowingSymlinks is the same for links counted as what they
// lead to.
func (l *Listing) HumanTotalFileSizeFollowingSymlinks() string {
	return humanize.IBytes(unsigned(l.TotalFileSizeFollowingSymlinks))
}

// HasExt reports whether the name ends in one of the texts, in any case.
func (it Item) HasExt(exts ...string) bool {
	name := strings.ToLower(it.Name)
	for _, e := range exts {
		if strings.HasSuffix(name, strings.ToLower(e)) {
			return true
		}
	}
	return false
}

// HumanSize is Size in a unit such as "4.0 KiB".
func (it Item) HumanSize() string { return humanize.IBytes(unsigned(it.Size)) }

// HumanModTime is ModTime in a layout of package time.
func (it Item) HumanModTime(layout string) string { return it.ModTime.Format(layout) }

func unsigned(n int64) uint64 { return uint64(max(n, 0)) }

// itemURL leads to an item whatever its name: "./" keeps a colon from making it
// a scheme.
func itemURL(name string) string { return (&url.URL{Path: "./" + name}).EscapedPath() }

// json makes the items an array.
func (l *Listing) json() ([]byte, error) {
	b, err := json.Marshal(l.Items)
	return append(b, '\n'), err
}

// text makes the items a table.
func (l *Listing) text() string {
	var b strings.Builder
	b.WriteString("Name\tSize\tModified\n----\t----\t--------\n")
	for i := range l.Items {
		it := &l.Items[i]
		b.WriteString(it.Name + "\t" + it.HumanSize() + "\t" + it.HumanModTime("January 2, 2006 at 15:04:05") + "\n")
	}
	return b.String()
}
