package vars

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// ToString returns the text form of a value (rule 8.1.7): nothing for nil,
// strings and bytes as they are, numbers in plain decimal, true or false, the
// own text form of errors and of types that have one (time.Duration,
// netip.Addr), and otherwise the default form, lists as [a b].
func ToString(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case []byte:
		return string(v)
	case time.Duration:
		return v.String()
	case time.Time:
		return v.String()
	}
	return string(AppendString(nil, v))
}

// AppendString appends what [ToString] returns to dst.
func AppendString(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return dst
	case string:
		return append(dst, v...)
	case []byte:
		return append(dst, v...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case int32:
		return strconv.AppendInt(dst, int64(v), 10)
	case uint:
		return strconv.AppendUint(dst, uint64(v), 10)
	case uint16:
		return strconv.AppendUint(dst, uint64(v), 10)
	case uint32:
		return strconv.AppendUint(dst, uint64(v), 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case float64:
		return strconv.AppendFloat(dst, v, 'f', -1, 64)
	case float32:
		return strconv.AppendFloat(dst, float64(v), 'f', -1, 32)
	}
	return appendOther(dst, v)
}

func appendOther(dst []byte, v any) []byte {
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer && rv.IsNil() {
		return dst
	}
	switch v.(type) {
	case error, fmt.Stringer:
		return fmt.Append(dst, v) // it survives methods that panic
	}
	switch rv.Kind() {
	case reflect.Float64:
		return strconv.AppendFloat(dst, rv.Float(), 'f', -1, 64)
	case reflect.Float32:
		return strconv.AppendFloat(dst, rv.Float(), 'f', -1, 32)
	case reflect.Slice:
		if rv.Type().Elem().Kind() == reflect.Uint8 {
			return append(dst, rv.Bytes()...)
		}
	}
	return fmt.Append(dst, v)
}
