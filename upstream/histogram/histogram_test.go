package histogram

import (
	"math"
	"testing"
	"time"
)

func TestBucketsAreCloseToTheirValues(t *testing.T) {
	for d := 16 * time.Microsecond; d < 2*time.Minute; d += d/50 + time.Microsecond {
		got := middle(bucket(d))
		if off := math.Abs(float64(got-d)) / float64(d); off > 0.064 {
			t.Fatalf("%v is remembered as %v, %.1f %% off", d, got, off*100)
		}
	}
	if b := bucket(0); b != 0 {
		t.Errorf("no time at all is in bucket %d", b)
	}
	if b := bucket(time.Hour); b != buckets-1 {
		t.Errorf("an hour is in bucket %d of %d", b, buckets)
	}
}

func TestEmpty(t *testing.T) {
	var r Recent
	if p50, p99, n := r.Read(7); p50 != 0 || p99 != 0 || n != 0 {
		t.Errorf("nothing is %v, %v of %d", p50, p99, n)
	}
}
