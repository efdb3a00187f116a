"""Look at results in Neuroglancer or napari: image, labels, table and outlines, read as needed.

`site` puts together what is shown: documents, files, and volumes that are computed chunk by chunk
(`volumes`). `server` serves it on this machine, and `folder` writes it to a folder that any web
server can hold. The same paths lead to the same bytes in both.
"""
