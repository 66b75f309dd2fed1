"""How far exact posteriors of continuous slabs are from plain integrals."""
