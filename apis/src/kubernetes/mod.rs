//! Kubernetes objects, slim: only the fields Ferrant reads.
