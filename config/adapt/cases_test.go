package adapt_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestCases(t *testing.T) { adapttest.Cases(t) }
