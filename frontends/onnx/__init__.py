"""Import from ONNX: ``importer.py`` takes a file apart, ``families.py`` lists its rules."""
