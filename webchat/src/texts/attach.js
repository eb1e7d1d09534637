// English for images and files, which are loaded when there are some.
export default {
  attach: 'Attach files',
  attachments: 'Attached files',
  remove_file: 'Remove {name}',
  uploading: 'Uploading {name}',
  uploaded: 'Uploaded',
  file: 'File',
  image: 'Image',
  open_image: 'Open {name}',
  image_previous: 'Previous image',
  image_next: 'Next image',
};
