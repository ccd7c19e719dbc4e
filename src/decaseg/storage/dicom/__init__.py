"""The one door to DICOM: finds series, reads them as volumes, writes label maps as DICOM-SEG. Only here is pydicom."""
