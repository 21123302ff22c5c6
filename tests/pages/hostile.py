"""A name that would do harm wherever it is not taken for text."""

HOSTILE = "<script>document.title='owned'</script>\x1b[31m|`*_[x](javascript:1)"
