//! An empty MLflow, filled from the stream.
