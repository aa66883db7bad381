package filter

import (
	"math"
	"time"

	"go.uber.org/zap/zapcore"
)

// object filters the fields of an object on their way to an encoder.
type object struct {
	to zapcore.ObjectEncoder
	at *node
}

func (o *object) add(f zapcore.Field) {
	if f, keep := o.at.field(f); keep {
		f.AddTo(o.to)
	}
}

// integer adds what zap keeps as an integer.
func (o *object) integer(key string, t zapcore.FieldType, v int64) {
	o.add(zapcore.Field{Key: key, Type: t, Integer: v})
}

// boxed adds what zap keeps as an interface.
func (o *object) boxed(key string, t zapcore.FieldType, v any) {
	o.add(zapcore.Field{Key: key, Type: t, Interface: v})
}

// AddArray implements zapcore.ObjectEncoder.
func (o *object) AddArray(key string, v zapcore.ArrayMarshaler) error {
	if o.at.child(key) == nil {
		return o.to.AddArray(key, v)
	}
	o.boxed(key, zapcore.ArrayMarshalerType, v)
	return nil
}

// AddObject implements zapcore.ObjectEncoder.
func (o *object) AddObject(key string, v zapcore.ObjectMarshaler) error {
	if o.at.child(key) == nil {
		return o.to.AddObject(key, v)
	}
	o.boxed(key, zapcore.ObjectMarshalerType, v)
	return nil
}

// AddReflected implements zapcore.ObjectEncoder.
func (o *object) AddReflected(key string, v any) error {
	if o.at.child(key) == nil {
		return o.to.AddReflected(key, v)
	}
	o.boxed(key, zapcore.ReflectType, v)
	return nil
}

// OpenNamespace implements zapcore.ObjectEncoder.
func (o *object) OpenNamespace(key string) {
	o.boxed(key, zapcore.NamespaceType, nil)
	o.at = o.at.namespace(key)
}

// AddString implements zapcore.ObjectEncoder.
func (o *object) AddString(key, v string) {
	o.add(zapcore.Field{Key: key, Type: zapcore.StringType, String: v})
}

// AddBool implements zapcore.ObjectEncoder.
func (o *object) AddBool(key string, v bool) {
	var n int64
	if v {
		n = 1
	}
	o.integer(key, zapcore.BoolType, n)
}

// AddFloat64 implements zapcore.ObjectEncoder.
func (o *object) AddFloat64(key string, v float64) {
	o.integer(key, zapcore.Float64Type, int64(math.Float64bits(v)))
}

// AddFloat32 implements zapcore.ObjectEncoder.
func (o *object) AddFloat32(key string, v float32) {
	o.integer(key, zapcore.Float32Type, int64(math.Float32bits(v)))
}

// AddDuration implements zapcore.ObjectEncoder.
func (o *object) AddDuration(key string, v time.Duration) {
	o.integer(key, zapcore.DurationType, int64(v))
}

// AddByteString implements zapcore.ObjectEncoder.
func (o *object) AddByteString(key string, v []byte) { o.boxed(key, zapcore.ByteStringType, v) }

// AddBinary implements zapcore.ObjectEncoder.
func (o *object) AddBinary(key string, v []byte) { o.boxed(key, zapcore.BinaryType, v) }

// AddTime implements zapcore.ObjectEncoder.
func (o *object) AddTime(key string, v time.Time) { o.boxed(key, zapcore.TimeFullType, v) }

// AddComplex128 implements zapcore.ObjectEncoder.
func (o *object) AddComplex128(key string, v complex128) { o.boxed(key, zapcore.Complex128Type, v) }

// AddComplex64 implements zapcore.ObjectEncoder.
func (o *object) AddComplex64(key string, v complex64) { o.boxed(key, zapcore.Complex64Type, v) }

// AddInt64 implements zapcore.ObjectEncoder.
func (o *object) AddInt64(key string, v int64) { o.integer(key, zapcore.Int64Type, int64(v)) }

// AddInt32 implements zapcore.ObjectEncoder.
func (o *object) AddInt32(key string, v int32) { o.integer(key, zapcore.Int32Type, int64(v)) }

// AddInt16 implements zapcore.ObjectEncoder.
func (o *object) AddInt16(key string, v int16) { o.integer(key, zapcore.Int16Type, int64(v)) }

// AddInt8 implements zapcore.ObjectEncoder.
func (o *object) AddInt8(key string, v int8) { o.integer(key, zapcore.Int8Type, int64(v)) }

// AddUint64 implements zapcore.ObjectEncoder.
func (o *object) AddUint64(key string, v uint64) { o.integer(key, zapcore.Uint64Type, int64(v)) }

// AddUint32 implements zapcore.ObjectEncoder.
func (o *object) AddUint32(key string, v uint32) { o.integer(key, zapcore.Uint32Type, int64(v)) }

// AddUint16 implements zapcore.ObjectEncoder.
func (o *object) AddUint16(key string, v uint16) { o.integer(key, zapcore.Uint16Type, int64(v)) }

// AddUint8 implements zapcore.ObjectEncoder.
func (o *object) AddUint8(key string, v uint8) { o.integer(key, zapcore.Uint8Type, int64(v)) }

// AddUintptr implements zapcore.ObjectEncoder.
func (o *object) AddUintptr(key string, v uintptr) { o.integer(key, zapcore.UintptrType, int64(v)) }

// AddInt implements zapcore.ObjectEncoder.
func (o *object) AddInt(key string, v int) { o.integer(key, zapcore.Int64Type, int64(v)) }

// AddUint implements zapcore.ObjectEncoder.
func (o *object) AddUint(key string, v uint) { o.integer(key, zapcore.Uint64Type, int64(v)) }
