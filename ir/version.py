"""The version of cauce, which exported models, saved ones and caches carry."""

VERSION = "0.1.0"
