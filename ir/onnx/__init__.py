"""What importing and exporting ONNX share: plain tables and decoders, without the onnx package."""
