"""TensorFlow functions as ONNX files."""
