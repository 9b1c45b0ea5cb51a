"""Adapters: each makes one part of the biology a Process. The work is done by the packages they call."""
