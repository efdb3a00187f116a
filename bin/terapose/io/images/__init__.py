"""Opens images of every supported format without reading their pixels.

`opening` is the only way in; what it returns reads any region of any channel as (Z, Y, X).
"""
