"""Quality and diversity of one class: precision, recall, density, coverage, FID, KID, MS-SSIM (Appendix H)."""
