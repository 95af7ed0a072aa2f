//! The snapshot by the object's iterators: what was there before the sensor.
